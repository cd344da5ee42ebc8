"""Cross-shaped window attention: half of the heads attend within vertical stripes of the map, half within horizontal.

Dong et al., "CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows", CVPR 2022, sections
3.2 and 3.3. For the tokens of one stripe, head by head, with LePE a 3 x 3 depthwise convolution of the values which
sees nothing beyond the stripe,

    Y = softmax(Q K^T / sqrt(d)) V + LePE(V)

The first half of the channels is for vertical stripes (as high as the map), the other for horizontal ones. Where one
stripe would be the whole map, and in the last stage, all heads attend to all tokens.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import (
    Affinity,
    AttentionAffinity,
    MixtureAffinity,
    PointAffinity,
    RepeatedHeads,
    StencilAffinity,
    join_heads,
    map_columns,
    split_into_heads,
    square_offsets,
)
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, ZeroGradient, register_mixer
from stmbench.mixers.ops.attention import QkvProjection, key_bias
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum
from stmbench.mixers.ops.stages import require_stages
from stmbench.mixers.ops.windows import padded_size, window_attention


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossWindowAttnConfig(MixerConfig):
    """`heads` heads in stripes `stripe` tokens wide; None: all tokens attend to all."""

    heads: int
    stripe: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.stripe is None or self.stripe >= 1, "stripe >= 1", self.stripe)
        remedy = "half of them are for vertical stripes"
        require(self.stripe is None or self.heads % 2 == 0, "an even number of heads", self.heads, remedy)


def config_at(
    position: BlockPosition, *, stripes: tuple[int, ...] = (1, 2, 7), head_dim: int = 32
) -> CrossWindowAttnConfig:
    """Stripes widen from stage to stage; a stage without one, or with a map no wider than its stripe at the design
    size, has none. The number of heads is even: heads of `head_dim` channels, or of fewer where that leaves a rest."""
    require(head_dim >= 1, "head_dim >= 1", head_dim)
    require(position.dim % 2 == 0, "an even dim", position.dim)
    require_stages("stripes", stripes, or_fewer=True)
    stripe = stripes[position.stage] if position.stage < len(stripes) else None
    if stripe is not None and stripe >= min(position.resolution):
        stripe = None
    fewest = 2 * math.ceil(position.dim / (2 * head_dim))
    heads = next(heads for heads in range(fewest, position.dim + 1, 2) if position.dim % heads == 0)
    return CrossWindowAttnConfig(dim=position.dim, heads=heads, stripe=stripe)


@register_mixer(
    "cross_window_attn",
    config=CrossWindowAttnConfig,
    config_at=config_at,
    title="Cross-Shaped Window Attention",
    abbreviation="CSWin-Attn",
    family="Local Attention",
    sampling="local",
    weights="both",
    mixing_weights=("1", "1"),
    method="CSWin Transformer",
    citation="Dong et al., CVPR 2022",
    zero_gradient=(
        key_bias(),
        ZeroGradient(
            parameter="lepe.*.weight",
            part="the taps across a stripe that is one token wide",
            reason="they see nothing but the zeros outside the stripe; the authors' model has them",
        ),
    ),
    channel_multiple=32,
    palette_slot=23,
    presets=presets.matched((2, 2, 12, 2), (2, 2, 7, 2), head_dim=16),
    layouts=presets.tiny_layout((64, 128, 256, 512), (1, 2, 21, 1)),
)
class CrossWindowAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Where stripes do not divide a side, queries, keys and values are zero-padded, half
    of it above or to the left; padding is attended to, as in the authors' code for detection and segmentation.

    The affinity has one head for each channel, as LePE's kernels are. What padding adds is zero: it has no column.
    """

    config: CrossWindowAttnConfig

    def __init__(self, config: CrossWindowAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = QkvProjection(config.dim)
        self.proj = nn.Linear(config.dim, config.dim)
        branches = 1 if config.stripe is None else 2  # vertical, horizontal
        dim = config.dim // branches
        self.lepe = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1, groups=dim) for _ in range(branches))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        qkv = self.qkv(x)
        if self.config.stripe is None:
            parts = qkv.chunk(3, dim=3)
            q, k, v = (split_into_heads(part, self.config.heads) for part in parts)
            lepe = self.lepe[0](parts[2].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            attended = join_heads(F.scaled_dot_product_attention(q, k, v), *x.shape[1:3])
            mixed = attended + lepe
        else:
            vertical, horizontal = qkv.reshape(*x.shape[:3], 3, 2, -1).unbind(4)  # B, H, W, 3, C / 2
            mixed = torch.cat((self._in_stripes(vertical, 0), self._in_stripes(horizontal, 1)), dim=3)
        projected: Tensor = self.proj(mixed)
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, stripe by stripe; a stripe that is cut off by the border is filled up with keys of zero, which
        add e^0 each to the softmax's denominator."""
        height, width, dim = x.shape[1:]
        q, k, v = self.qkv(x).chunk(3, dim=3)
        halves = [slice(0, dim)] if self.config.stripe is None else [slice(0, dim // 2), slice(dim // 2, dim)]
        mixed = torch.zeros_like(q)
        for branch, half in enumerate(halves):
            side = width if branch == 0 else height
            stripe = self.config.stripe or side
            before = -side % stripe // 2
            position = torch.arange(side)
            for number in range(-(-side // stripe)):
                lines = position[(position + before) // stripe == number]
                along = 2 if branch == 0 else 1  # vertical stripes hold columns
                own = [part[..., half].index_select(along, lines) for part in (q, k, v)]
                queries, keys, values = (split_into_heads(part, self.config.heads // len(halves)) for part in own)
                missing = (stripe - len(lines)) * (height if branch == 0 else width)
                logits = queries @ keys.transpose(2, 3) / keys.shape[3] ** 0.5
                weights = F.pad(logits, (0, missing)).softmax(dim=3)[..., : keys.shape[2]]
                y = join_heads(weights @ values, *own[0].shape[1:3])
                kernel, bias = self._conv(branch)
                y = y + kernel_sum(own[2], kernel[:, 0]) + bias
                if branch == 0:
                    mixed[:, :, lines, half] = y
                else:
                    mixed[:, lines, :, half] = y
        projected: Tensor = self.proj(mixed)
        return projected

    def affinity(self, x: Tensor) -> MixtureAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): attention is the dynamic part, LePE the static one."""
        batch, height, width, dim = x.shape
        columns = map_columns(height, width, device=x.device)
        qk = F.linear(x, self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim])
        offsets = square_offsets(3, x.device)
        dynamic: Affinity
        if self.config.stripe is None:
            q, k = (split_into_heads(part, self.config.heads) for part in qk.chunk(2, dim=3))
            dynamic = AttentionAffinity(q, k, columns)
            taps = self._conv(0)[0].view(1, dim, 1, 9)
        else:
            vertical, horizontal = qk.reshape(batch, height, width, 2, 2, -1).unbind(4)
            weights, keys = zip(self._weights(vertical, 0), self._weights(horizontal, 1), strict=True)
            most = max(part.shape[3] for part in weights)
            index = torch.stack([F.pad(part, (0, most - part.shape[1])) for part in keys])  # 2, N, keys
            index = index.repeat_interleave(self.config.heads // 2, dim=0).expand(batch, -1, -1, -1)
            padded = torch.cat([F.pad(part, (0, most - part.shape[3])) for part in weights], dim=1)
            dynamic = PointAffinity(index, padded, columns)
            taps = torch.cat([self._taps(branch, height, width, offsets) for branch in (0, 1)])[None]
        static = StencilAffinity(taps, offsets, columns, kind="static", batch=batch)
        return MixtureAffinity(RepeatedHeads(dynamic, dim // self.config.heads), static)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(self.qkv.values(x), self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C). LePE's bias is added here: it belongs to no column."""
        bias = torch.cat([self._conv(branch)[1] for branch in range(len(self.lepe))])
        projected: Tensor = self.proj(join_heads(mixed, height, width) + bias)
        return projected

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The convolutions are `attns.0.get_v` and `attns.1.get_v` in the authors' block."""
        return {re.sub(r"^attns\.(\d)\.get_v\.", r"lepe.\1.", name): tensor for name, tensor in state.items()}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections; for each branch 2 C / 2 times the keys of a stripe, and 9 C / 2 for LePE, on
        its padded map."""
        dim, stripe, tokens = self.config.dim, self.config.stripe, height * width
        projections = 4 * tokens * dim * dim
        if stripe is None:
            return projections + tokens * dim * (2 * tokens + 9)
        branches = (padded_size(width, stripe), height), (padded_size(height, stripe), width)
        return projections + sum(across * along * dim // 2 * (2 * stripe * along + 9) for across, along in branches)

    def _conv(self, branch: int) -> tuple[Tensor, Tensor]:
        """LePE's kernel (C', 1, 3, 3) and bias."""
        conv = self.lepe[branch]
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        return conv.weight, conv.bias

    def _in_stripes(self, qkv: Tensor, branch: int) -> Tensor:
        """(B, H, W, 3, C') -> (B, H, W, C')."""
        kernel, bias = self._conv(branch)
        if branch == 0:  # horizontal stripes of the transposed map, whose kernel is transposed too
            qkv, kernel = qkv.transpose(1, 2), kernel.transpose(2, 3)
        batch, height, width, _, dim = qkv.shape
        stripes, before = self._cut(qkv)
        inside = (-1, *stripes.shape[2:4], dim)  # B * stripes, S, W, C'
        stripes = stripes.reshape(-1, inside[1] * inside[2], 3, self.config.heads // 2, dim * 2 // self.config.heads)
        q, k, v = (part.transpose(1, 2) for part in stripes.unbind(2))  # B * stripes, heads, S * W, d
        y = window_attention(q, k, v, None).transpose(1, 2).reshape(inside)
        values = v.transpose(1, 2).reshape(inside).permute(0, 3, 1, 2)
        y = y + F.conv2d(values, kernel, bias, padding=1, groups=dim).permute(0, 2, 3, 1)
        y = y.reshape(batch, -1, width, dim)[:, before : before + height]
        return y.transpose(1, 2) if branch == 0 else y

    def _cut(self, part: Tensor) -> tuple[Tensor, int]:
        """(B, H, W, parts, C') -> (B, stripes, S, W, parts, C'), and the rows of padding above the map."""
        assert self.config.stripe is not None
        batch, height = part.shape[:2]
        missing = padded_size(height, self.config.stripe) - height
        before = missing // 2
        if missing:
            part = F.pad(part, (0, 0, 0, 0, 0, 0, before, missing - before))
        return part.reshape(batch, -1, self.config.stripe, *part.shape[2:]), before

    def _weights(self, qk: Tensor, branch: int) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, H, W, 2, C') -> the weights (B, heads, N, keys) and the positions (N, keys) of every
        token's keys; those of padding are 0, with a weight of zero."""
        if branch == 0:
            qk = qk.transpose(1, 2)
        height, width = qk.shape[1:3]
        stripes, before = self._cut(qk)
        count, stripe = stripes.shape[1:3]
        stripes = stripes.reshape(*stripes.shape[:2], stripe * width, 2, self.config.heads // 2, -1)
        q, k = stripes.permute(3, 0, 4, 1, 2, 5).unbind(0)  # B, heads, stripes, S * W, d
        weights = (q @ k.transpose(3, 4) * q.shape[4] ** -0.5).softmax(dim=4)
        line = torch.arange(count * stripe, device=qk.device)[:, None] - before
        along = torch.arange(width, device=qk.device)
        positions = along * height + line if branch == 0 else line * width + along  # on the map as it was
        keys = torch.where((line >= 0) & (line < height), positions, -1).view(count, -1)
        weights = weights * (keys >= 0)[:, None]
        weights = weights.reshape(*weights.shape[:2], count * stripe, width, -1)[:, :, before : before + height]
        keys = keys.clamp(min=0)[:, None, None].expand(-1, stripe, width, -1).flatten(0, 1)[before : before + height]
        if branch == 0:
            weights, keys = weights.transpose(2, 3), keys.transpose(0, 1)
        return weights.flatten(2, 3), keys.flatten(0, 1)

    def _taps(self, branch: int, height: int, width: int, offsets: Tensor) -> Tensor:
        """LePE's weights for each position, zero across the border of a stripe: (C', N, 9)."""
        assert self.config.stripe is not None
        side = width if branch == 0 else height
        missing = padded_size(side, self.config.stripe) - side
        line = torch.arange(side, device=offsets.device)[:, None] + missing // 2
        same = (line + offsets[:, 1 - branch]) // self.config.stripe == line // self.config.stripe  # side, 9
        same = same.expand(height, -1, -1) if branch == 0 else same[:, None].expand(-1, width, -1)
        return self._conv(branch)[0].view(-1, 1, 9) * same.reshape(-1, 9)
