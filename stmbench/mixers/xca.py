"""Cross-covariance attention: attention over the channels of a head, and XCiT's local patch interaction after it.

El-Nouby et al., "XCiT: Cross-Covariance Image Transformers", NeurIPS 2021, section 3. For each head of d channels, with
Q, K and V (N x d) and a learned temperature t,

    Y = V softmax(t K^T Q)^T,   every column of Q and K divided by its norm over the N tokens

A d x d matrix of weights: tokens meet in the norms and covariances alone, and no product is scaled by 1 / sqrt(d).
`lpi` follows it with 3 x 3 depthwise convolution, GELU, BatchNorm (in this order) and another 3 x 3 depthwise
convolution; in XCiT that is a residual branch with a norm of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import without_autocast
from stmbench.mixers.ops.attention import QkvProjection, num_heads
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum

EPSILON = 1e-12  # the smallest norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class XcaConfig(MixerConfig):
    """`heads` heads that divide `dim`; `lpi` adds the local patch interaction."""

    heads: int
    lpi: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)


def config_at(position: BlockPosition, *, head_dim: int = 32, heads: int | None = None, lpi: bool = False) -> XcaConfig:
    """Heads of `head_dim` channels; `heads`, where given, is their number in every stage instead."""
    return XcaConfig(dim=position.dim, heads=num_heads(position.dim, head_dim, heads), lpi=lpi)


class LocalPatchInteraction(nn.Module):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = self.conv2(self.bn(F.gelu(self.conv1(x.permute(0, 3, 1, 2)))))
        return y.permute(0, 2, 3, 1)

    def reference(self, x: Tensor) -> Tensor:
        """The same map as sums over taps."""
        for conv in (self.conv1, self.conv2):
            assert conv.bias is not None
            x = kernel_sum(x, conv.weight[:, 0]) + conv.bias
            if conv is self.conv1:
                x = self.bn(F.gelu(x).movedim(3, 1)).movedim(1, 3)
        return x


@register_mixer(
    "xca",
    config=XcaConfig,
    config_at=config_at,
    title="Cross-Covariance Attention",
    abbreviation="XCA",
    family="Channel Attention",
    sampling="global",
    weights="dynamic",
    method="XCiT",
    citation="El-Nouby et al., NeurIPS 2021",
    channel_multiple=32,
    palette_slot=30,
    presets=presets.matched((2, 2, 13, 2), (2, 2, 7, 2), head_dim=16),
)
class Xca(Mixer):
    """(B, H, W, C) -> (B, H, W, C); the cost is linear in H * W.

    It has no affinity: its weights are between channels, and every token's values stay at their place.
    """

    config: XcaConfig

    def __init__(self, config: XcaConfig) -> None:
        super().__init__()
        self.config = config
        self.temperature = nn.Parameter(torch.ones(config.heads, 1, 1))
        self.qkv = QkvProjection(config.dim)
        self.proj = nn.Linear(config.dim, config.dim)
        self.lpi = LocalPatchInteraction(config.dim) if config.lpi else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        heads = self.config.heads
        qkv = self.qkv(x).view(len(x), -1, 3, heads, self.config.dim // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # B, heads, N, d
        with without_autocast(x.device):  # a sum over all tokens outgrows half precision
            kind = torch.promote_types(q.dtype, torch.float32)
            q, k = q.to(kind), k.to(kind)
            # norms divide the small products instead of the tokens
            of_q, of_k = (part.norm(dim=2).clamp_min(EPSILON) for part in (q, k))  # B, heads, d
            logits = q.mT @ k / (of_q[..., None] * of_k[..., None, :]) * self.temperature
            weights = logits.softmax(dim=3).to(v.dtype)
        mixed = (v @ weights.mT).transpose(1, 2).reshape(x.shape)
        y: Tensor = self.proj(mixed)
        return y if self.lpi is None else self.lpi(y)

    def reference(self, x: Tensor) -> Tensor:
        """The same map, head by head with normalised queries and keys."""
        q, k, v = self.qkv(x).flatten(1, 2).chunk(3, dim=-1)  # B, N, C each
        depth, mixed = self.config.dim // self.config.heads, []
        for head, temperature in enumerate(self.temperature.flatten()):
            own = slice(head * depth, (head + 1) * depth)
            first, second = (F.normalize(part[..., own], dim=1, eps=EPSILON) for part in (q, k))
            weights = (temperature * torch.einsum("bni,bnj->bij", first, second)).softmax(dim=2)
            mixed.append(torch.einsum("bij,bnj->bni", weights, v[..., own]))
        y: Tensor = self.proj(torch.cat(mixed, dim=-1).reshape(x.shape))
        return y if self.lpi is None else self.lpi.reference(y)

    def no_weight_decay(self) -> set[str]:
        """The temperatures."""
        return {"temperature"}

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """XCA's own names are ours; those of XCiT's block begin with `attn.` and `local_mp.`."""
        return {name.removeprefix("attn.").replace("local_mp.", "lpi."): tensor for name, tensor in state.items()}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections, 2 N C d for the two products, 18 N C for the local patch interaction."""
        dim = self.config.dim
        return height * width * dim * (4 * dim + 2 * (dim // self.config.heads) + (18 if self.config.lpi else 0))
