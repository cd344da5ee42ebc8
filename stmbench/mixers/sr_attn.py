"""Spatial-reduction attention: every token attends to all, but keys and values come from a map reduced by a
strided convolution.

Wang et al., "Pyramid Vision Transformer", ICCV 2021, section 3.3 (eqs. 1 to 3); the reduction is PVT's R x R
convolution of stride R and a LayerNorm. For each head, with X' the reduced tokens,

    Y = softmax(Q(X) K(X')^T / sqrt(d)) V(X')
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.affinity import AttentionAffinity, join_heads, map_columns, reduced_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, Preset, register_mixer
from stmbench.mixers.ops.attention import key_bias
from stmbench.mixers.ops.stages import require_stages
from stmbench.mixers.ops.windows import extended


@dataclasses.dataclass(frozen=True, kw_only=True)
class SrAttnConfig(MixerConfig):
    """`heads` heads; keys and values on a map reduced by `ratio` in each direction."""

    heads: int
    ratio: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.ratio >= 1, "ratio >= 1", self.ratio)


def config_at(
    position: BlockPosition, *, head_dim: int = 64, ratios: tuple[int, int, int, int] = (8, 4, 2, 1)
) -> SrAttnConfig:
    """The reduction ratio falls from stage to stage, so that all stages have the same number of keys."""
    require(position.dim % head_dim == 0, f"dim {position.dim} divisible by head_dim", head_dim)
    require_stages("ratios", ratios)
    return SrAttnConfig(dim=position.dim, heads=position.dim // head_dim, ratio=ratios[position.stage])


def _presets() -> dict[str, Preset]:
    def preset(depths: tuple[int, int, int, int], drop_path: float, mlp: float = 8) -> Preset:
        return Preset(
            dims=(64, 128, 320, 512),
            depths=depths,
            mlp_ratios=(mlp, mlp, 4, 4),
            norm_eps=1e-5,
            drop_path=drop_path,
            position_embedding=(True, True, True, True),
        )

    tiny = preset((3, 4, 9, 3), 0.1)
    narrow = dataclasses.replace(tiny, drop_path=0.0, options={"head_dim": 32})
    return {
        "nano": dataclasses.replace(
            narrow,
            dims=(16, 32, 64, 128),
            depths=(2, 2, 2, 2),
            mlp_ratios=(4, 4, 4, 4),
            options={"head_dim": 16, "ratios": (4, 2, 1, 1)},
        ),
        "micro": dataclasses.replace(narrow, dims=(32, 64, 160, 256), depths=(2, 2, 3, 2)),
        "tiny": tiny,
        "small": preset((3, 4, 21, 3), 0.3),
        "base": preset((3, 8, 45, 3), 0.5, mlp=4),
    }


@register_mixer(
    "sr_attn",
    config=SrAttnConfig,
    config_at=config_at,
    title="Spatial Reduction Attention",
    abbreviation="SR-Attn",
    family="Global Attention",
    sampling="global",
    weights="dynamic",
    method="PVT",
    citation="Wang et al., ICCV 2021",
    zero_gradient=(key_bias("kv.bias", "the keys' half"),),
    palette_slot=1,
    softmax_rows=True,
    channel_multiple=64,
    presets=_presets(),
    published_convention=frozenset({"conv", "linear"}),
)
class SrAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). The reduction drops the rows and columns that do not fill a patch (it floors); a
    map smaller than one patch is zero-padded to it."""

    config: SrAttnConfig

    def __init__(self, config: SrAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.q = nn.Linear(config.dim, config.dim)
        self.kv = nn.Linear(config.dim, 2 * config.dim)  # all keys, then all values
        self.proj = nn.Linear(config.dim, config.dim)
        if config.ratio > 1:
            self.reduction = nn.Conv2d(config.dim, config.dim, config.ratio, stride=config.ratio)
            self.norm = nn.LayerNorm(config.dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, dim = x.shape
        heads, depth = self.config.heads, dim // self.config.heads
        q = self.q(x).view(batch, height * width, heads, depth).transpose(1, 2)  # B, heads, N, d
        k, v = self._parts(x)
        y = F.scaled_dot_product_attention(q, k, v)  # B, heads, N, d
        projected: Tensor = self.proj(y.transpose(1, 2).reshape(batch, height, width, dim))
        return projected

    def reduced(self, x: Tensor) -> Tensor:
        """The tokens that keys and values are made from: (B, H, W, C) -> (B, N', C)."""
        ratio = self.config.ratio
        if ratio == 1:
            return x.flatten(1, 2)
        height, width = x.shape[1:3]
        x = extended(x, max(ratio - height, 0), max(ratio - width, 0))
        x = self.reduction(x.permute(0, 3, 1, 2))  # a channels-last view: no copy
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1).flatten(1, 2))
        return normed

    def reference(self, x: Tensor) -> Tensor:
        """The same map with the strided convolution as a product over patches and a softmax that can be read."""
        batch, height, width, dim = x.shape
        ratio, depth = self.config.ratio, dim // self.config.heads
        tokens = x.flatten(1, 2)
        if ratio > 1:
            padded = F.pad(x, (0, 0, 0, max(ratio - width, 0), 0, max(ratio - height, 0)))
            rows, columns = padded.shape[1] // ratio, padded.shape[2] // ratio
            assert self.reduction.bias is not None
            patches = padded[:, : rows * ratio, : columns * ratio].reshape(batch, rows, ratio, columns, ratio, dim)
            tokens = torch.einsum("brycxi,oiyx->brco", patches, self.reduction.weight) + self.reduction.bias
            tokens = self.norm(tokens.flatten(1, 2))
        q, (k, v) = self.q(x.flatten(1, 2)), self.kv(tokens).chunk(2, dim=-1)
        outputs = []
        for head in range(self.config.heads):
            part = slice(head * depth, (head + 1) * depth)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) * depth**-0.5).softmax(dim=-1)  # B, N, N'
            outputs.append(weights @ v[..., part])
        projected: Tensor = self.proj(torch.cat(outputs, dim=-1).view(batch, height, width, dim))
        return projected

    def affinity(self, x: Tensor) -> AttentionAffinity:
        """(B, H, W, C) -> (B, heads, H * W, N'): the columns are the reduced tokens, each with its patch of the map."""
        ratio, (height, width) = self.config.ratio, x.shape[1:3]
        columns = map_columns(height, width, device=x.device)
        if ratio > 1:
            grid = (max(height // ratio, 1), max(width // ratio, 1))
            columns = reduced_columns(height, width, grid=grid, stride=ratio, device=x.device)
        return AttentionAffinity(split_into_heads(self.q(x), self.config.heads), self._parts(x)[0], columns)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, N', d)."""
        return self._parts(x)[1]

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        projected: Tensor = self.proj(join_heads(mixed, height, width))
        return projected

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 + 2 N' C^2 for the projections, N' R^2 C^2 for the reduction, 2 N N' C for the two products."""
        dim, ratio, tokens = self.config.dim, self.config.ratio, height * width
        reduced = max(height // ratio, 1) * max(width // ratio, 1)
        reduction = reduced * ratio * ratio * dim * dim if ratio > 1 else 0
        return 2 * tokens * dim * dim + 2 * reduced * dim * dim + reduction + 2 * tokens * reduced * dim

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) -> keys and values (B, heads, N', d)."""
        heads = self.config.heads
        kv = self.kv(self.reduced(x)).view(len(x), -1, 2, heads, self.config.dim // heads)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        return k, v
