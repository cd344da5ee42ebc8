"""Bi-level routing attention: the tokens of a region attend to the tokens of the regions that resemble theirs.

Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", CVPR 2023, section 3.2. The map is cut into
S x S regions, whose size follows the resolution. Q_r and K_r are means of a region's queries and keys; the k largest of

    A_r = Q_r K_r^T

are the regions that region r sees. For the tokens X of region r, with K and V of all tokens in those, head by head,

    Y = softmax(Q K^T / sqrt(C)) V + LePE(V)

LePE is a 5 x 5 depthwise convolution of the whole map's values. In the authors' code C is the number of all channels,
not of a head's; no gradient goes through the choice of regions. In the last stage all tokens attend to all, and the
scale is that of a head: as in the authors' `nchwAttentionLePE`. Their `AttentionLePE` convolves its input, not the
values, and its weights are refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import CheckpointError, require
from stmbench.mixers import presets
from stmbench.mixers.affinity import (
    Affinity,
    AttentionAffinity,
    MixtureAffinity,
    PointAffinity,
    RepeatedHeads,
    join_heads,
    map_columns,
    split_into_heads,
    square_offsets,
)
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import renamed
from stmbench.mixers.ops.attention import QkvProjection, key_bias, num_heads
from stmbench.mixers.ops.depthwise import DepthwiseConv
from stmbench.mixers.ops.determinism import COPIES
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum
from stmbench.mixers.ops.stages import require_stages
from stmbench.mixers.ops.windows import pad_to_windows, padded_size, require_fitting, window_attention

KERNEL = 5  # of LePE
FEW = 4  # where the chosen regions are at least this part of the map, the others are masked instead of left out


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoutingAttnConfig(MixerConfig):
    """`heads` heads; each of `regions` x `regions` regions attends to `topk` of them. None: all tokens to all."""

    heads: int
    topk: int | None
    regions: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.regions >= 1, "regions >= 1", self.regions)
        most = self.regions**2
        require(self.topk is None or 1 <= self.topk <= most, f"topk from 1 to {most} regions", self.topk)


def config_at(
    position: BlockPosition, *, regions: int = 7, topks: tuple[int, ...] = (1, 4, 16), head_dim: int = 32
) -> RoutingAttnConfig:
    """As many keys in every stage at 224 pixels: more regions as they become smaller. A stage without a number of
    regions attends to all tokens."""
    require_stages("topks", topks, or_fewer=True)
    topk = topks[position.stage] if position.stage < len(topks) else None
    if topk is not None:
        require_fitting("regions", regions, position.resolution)
    return RoutingAttnConfig(
        dim=position.dim,
        heads=num_heads(position.dim, head_dim, None),
        topk=topk,
        regions=regions,
    )


@register_mixer(
    "routing_attn",
    config=RoutingAttnConfig,
    config_at=config_at,
    title="Bi-Level Routing Attention",
    abbreviation="BRA",
    family="Global Attention",
    sampling="learned",
    weights="both",
    mixing_weights=("1", "1"),
    method="BiFormer",
    citation="Zhu et al., CVPR 2023",
    nondeterministic_backward=COPIES,
    zero_gradient=(key_bias(),),
    channel_multiple=32,
    palette_slot=25,
    presets=presets.matched((2, 2, 12, 2), (2, 2, 7, 2), regions=2, topks=(1, 2, 4), head_dim=16),
    layouts=presets.tiny_layout((64, 128, 256, 512), (2, 2, 8, 2), (3, 3, 3, 3)),
)
class RoutingAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Sides that the number of regions does not divide are zero-padded below and to the
    right, before the projection; padding counts in the means, is attended to and seen by LePE (it is the bias), as with
    the authors' `auto_pad`. A map with fewer tokens than regions is padded to one token for each.

    The affinity has one head for each channel, as LePE's kernels are.
    """

    config: RoutingAttnConfig

    def __init__(self, config: RoutingAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = QkvProjection(config.dim)
        self.lepe = DepthwiseConv(config.dim, KERNEL)
        self.proj = nn.Linear(config.dim, config.dim)

    @property
    def scale(self) -> float:
        """Of the logits."""
        routed = self.config.topk is not None
        return 1 / math.sqrt(self.config.dim if routed else self.config.dim // self.config.heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        x = self._padded(x)
        rows, columns = x.shape[1:3]
        q, k, v = self.qkv(self._regions(x)).chunk(3, dim=3)  # B, regions, tokens, C
        mixed = self._map(self._attended(q, k, v), rows, columns)
        lepe = self.lepe(self._map(v, rows, columns))
        projected: Tensor = self.proj((mixed + lepe)[:, :height, :width])
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, image by image and region by region."""
        height, width, dim = x.shape[1:]
        side = 1 if self.config.topk is None else self.config.regions
        rows, columns = height + -height % side, width + -width % side
        padded = x.new_zeros(x.shape[0], rows, columns, dim)
        padded[:, :height, :width] = x
        q, k, v = self.qkv(padded).chunk(3, dim=3)
        assert self.lepe.bias is not None
        mixed = kernel_sum(v, self.lepe.weight[:, 0]) + self.lepe.bias
        y, x_ = (c.flatten() for c in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"))
        region = (y // (rows // side)) * side + x_ // (columns // side)
        heads = self.config.heads
        depth = dim // heads if self.config.topk is None else dim
        for image in range(len(x)):
            flat = [part[image].flatten(0, 1) for part in (q, k, v)]  # N, C
            means = [torch.stack([part[region == number].mean(0) for number in range(side**2)]) for part in flat[:2]]
            alike = means[0] @ means[1].T
            for number in range(side**2):
                chosen = alike[number].argsort(descending=True)[: self.config.topk or 1]
                own, seen = region == number, torch.isin(region, chosen)
                queries, keys, values = (
                    part[which].unflatten(1, (heads, -1)).transpose(0, 1)
                    for part, which in zip(flat, (own, seen, seen), strict=True)
                )
                weights = (queries @ keys.transpose(1, 2) / depth**0.5).softmax(dim=2)
                mixed[image, y[own], x_[own]] += (weights @ values).transpose(0, 1).flatten(1)
        projected: Tensor = self.proj(mixed[:, :height, :width])
        return projected

    def affinity(self, x: Tensor) -> MixtureAffinity:
        """(B, H, W, C) -> (B, C, H * W, columns): the padded map's tokens. Attention is the dynamic part."""
        batch, height, width, dim = x.shape
        heads = self.config.heads
        x = self._padded(x)
        rows, columns_ = x.shape[1:3]
        columns = map_columns(height, width, padded=(rows, columns_), device=x.device)
        qk = F.linear(x, self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim])
        positions = torch.arange(rows * columns_, device=x.device)
        dynamic: Affinity
        if self.config.topk is None:
            q, k = (split_into_heads(part, heads) for part in qk.chunk(2, dim=3))
            dynamic = AttentionAffinity(q, k, columns)
        else:
            q, k = self._regions(qk).chunk(2, dim=3)
            chosen = self._chosen(q, k)
            keys = self._regions(positions.view(1, rows, columns_, 1))[0, ..., 0][chosen].flatten(2)  # B, regions, K
            seen = torch.stack([image[index].flatten(1, 2) for image, index in zip(k, chosen, strict=True)])
            q, seen = (part.reshape(*part.shape[:3], heads, -1) for part in (q, seen))
            weights = (torch.einsum("brqhd,brkhd->brqhk", q, seen) * self.scale).softmax(dim=4)
            weights = self._map(weights.flatten(3), rows, columns_)[:, :height, :width]
            index = self._map(keys[:, :, None].expand(-1, -1, q.shape[2], -1), rows, columns_)[:, :height, :width]
            weights = weights.reshape(batch, height * width, heads, -1).transpose(1, 2)
            dynamic = PointAffinity(index.reshape(batch, 1, height * width, -1).expand_as(weights), weights, columns)
        y, x_ = positions // columns_, positions % columns_
        real = (y < height) & (x_ < width)
        offsets = square_offsets(KERNEL, x.device)
        y, x_ = y[real][:, None] + offsets[:, 0], x_[real][:, None] + offsets[:, 1]  # N, taps
        inside = (y >= 0) & (y < rows) & (x_ >= 0) & (x_ < columns_)
        taps = (self.lepe.weight.view(1, dim, 1, -1) * inside).expand(batch, -1, -1, -1)
        static = PointAffinity(torch.where(inside, y * columns_ + x_, 0).expand_as(taps), taps, columns, kind="static")
        return MixtureAffinity(RepeatedHeads(dynamic, dim // heads), static)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, columns, 1): those of padding are the value bias."""
        return split_into_heads(self.qkv.values(self._padded(x)), self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C). LePE's bias is added here: it belongs to no column."""
        assert self.lepe.bias is not None
        projected: Tensor = self.proj(join_heads(mixed, height, width) + self.lepe.bias)
        return projected

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The authors' `BiLevelRoutingAttention`, or their `nchwAttentionLePE` of the last stage, which has no bias.

        Raises:
            CheckpointError: the weights are those of `AttentionLePE`, which computes something else.
        """
        is_theirs = self.config.topk is None and "qkv.weight" in state and "qkv.bias" not in state
        if is_theirs and state["qkv.weight"].ndim == 2:
            raise CheckpointError(
                "weights of BiFormer's nchwAttentionLePE in a block where all tokens attend to all",
                "those of AttentionLePE, which convolves its input where this mixer convolves the values",
                "load the stages before, or train this block",
            )
        names = {"qkv.qkv.": "qkv.", "wo.": "proj."}
        named = renamed(state, names)
        if is_theirs:
            named["qkv.bias"] = named["qkv.weight"].new_zeros(len(named["qkv.weight"]))
        return named

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections, 2 C for each query and key, S^4 C for the choice of regions, 25 N C for LePE;
        all but the output's projection on the padded map."""
        dim, topk, side = self.config.dim, self.config.topk, self.config.regions
        tokens = height * width
        if topk is None:
            return tokens * dim * (4 * dim + 2 * tokens + KERNEL**2)
        padded = padded_size(height, side) * padded_size(width, side)
        keys = topk * padded // side**2
        return tokens * dim * dim + padded * dim * (3 * dim + 2 * keys + KERNEL**2) + side**4 * dim

    def _padded(self, x: Tensor) -> Tensor:
        if self.config.topk is None:
            return x
        return pad_to_windows(x, self.config.regions)

    def _regions(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, regions, tokens, C); one region where all attend to all."""
        if self.config.topk is None:
            return x.flatten(1, 2)[:, None]
        batch, rows, columns, dim = x.shape
        side = self.config.regions
        x = x.reshape(batch, side, rows // side, side, columns // side, dim).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(batch, side * side, -1, dim)

    def _map(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """(B, regions, tokens, C) -> (B, H, W, C)."""
        batch, dim = x.shape[0], x.shape[3]
        if self.config.topk is not None:
            side = self.config.regions
            x = x.reshape(batch, side, side, rows // side, columns // side, dim).transpose(2, 3)
        return x.reshape(batch, rows, columns, dim)

    def _chosen(self, q: Tensor, k: Tensor) -> Tensor:
        """Queries and keys (B, regions, tokens, C) -> (B, regions, topk): the regions that each region attends to."""
        assert self.config.topk is not None
        means = q.detach().mean(2), k.detach().mean(2)
        return (means[0] @ means[1].transpose(1, 2)).topk(self.config.topk, dim=2).indices

    def _attended(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, regions, tokens, C) three times -> the same: attention within the chosen regions."""
        batch, regions, tokens, dim = q.shape
        topk, heads = self.config.topk, self.config.heads
        masked = topk is None or (topk * FEW >= regions and not torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        mask = None
        if not masked:  # each region with copies of its keys and values
            row = self._chosen(q, k) + torch.arange(batch, device=q.device)[:, None, None] * regions
            k, v = (part.flatten(0, 1).index_select(0, row.flatten()) for part in (k, v))
            parts = [part.reshape(batch * regions, -1, heads, dim // heads).transpose(1, 2) for part in (q, k, v)]
        else:
            parts = [part.reshape(batch, regions * tokens, heads, dim // heads).transpose(1, 2) for part in (q, k, v)]
            if topk is not None:
                mask = torch.zeros(batch, regions, regions, dtype=torch.bool, device=q.device)
                mask = mask.scatter(2, self._chosen(q, k), True)
                mask = mask.repeat_interleave(tokens, 1).repeat_interleave(tokens, 2)[:, None]
        y = window_attention(parts[0], parts[1], parts[2], mask, self.scale)
        return y.transpose(1, 2).reshape(batch, regions, tokens, dim)
