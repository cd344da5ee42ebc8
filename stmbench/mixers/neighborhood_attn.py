"""Neighborhood attention: every token attends to the K x K tokens around it, or to every d-th token of a wider square.

Hassani et al., "Neighborhood Attention Transformer", CVPR 2023, section 3.1, and Hassani and Shi, "Dilated Neighborhood
Attention Transformer", 2022. For a query i, head by head, with its K^2 neighbours j and a (2K-1) x (2K-1) table B:

    Y_i = softmax_j(q_i k_j^T / sqrt(d) + B[j - i]) v_j

The square never leaves the map: at the border it moves inwards. Tokens at a distance d from one another, in both
directions, form a map of their own, on which dilated attention is the same, and whose offsets the table counts.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import WindowAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import cached_table
from stmbench.mixers.ops.attention import QkvProjection, key_bias, num_heads
from stmbench.mixers.ops.determinism import COPIES
from stmbench.mixers.ops.windows import cropped_positions, extended, padded_size, require_fitting, window_attention

FAR = -1e4  # added to the logits of keys that are no neighbours: e to that is zero


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeighborhoodAttnConfig(MixerConfig):
    """`heads` heads, `kernel` x `kernel` neighbours at distances of `dilation`; `relative_bias`: whether there is a
    table of offsets."""

    heads: int
    kernel: int = 7
    dilation: int = 1
    relative_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.kernel >= 3 and self.kernel % 2 == 1, "an odd kernel >= 3", self.kernel)
        require(self.dilation >= 1, "dilation >= 1", self.dilation)


def config_at(
    position: BlockPosition,
    *,
    kernel: int = 7,
    dilation: int | None = None,
    relative_bias: bool = True,
    head_dim: int = 32,
) -> NeighborhoodAttnConfig:
    """Odd blocks of a stage are dilated: by `dilation`, at most as far as the map at the design size allows (NATTEN
    asks for kernel x dilation <= side), or so far. At 224 pixels that is DiNAT's layout (8, 4, 2, 1 by stage).
    `dilation` 1 is NAT."""
    require(kernel >= 1, "kernel >= 1", kernel)
    require_fitting("kernel", kernel, position.resolution)
    widest = max(1, min(position.resolution) // kernel)
    widest = widest if dilation is None else min(dilation, widest)
    return NeighborhoodAttnConfig(
        dim=position.dim,
        heads=num_heads(position.dim, head_dim, None),
        kernel=kernel,
        dilation=widest if position.block % 2 else 1,
        relative_bias=relative_bias,
    )


@register_mixer(
    "neighborhood_attn",
    config=NeighborhoodAttnConfig,
    config_at=config_at,
    title="Neighborhood Attention",
    abbreviation="N-Attn",
    family="Local Attention",
    sampling="local",
    weights="dynamic",
    method="NAT, DiNAT",
    citation="Hassani et al., CVPR 2023; Hassani and Shi, 2022",
    nondeterministic_backward=COPIES,
    zero_gradient=(key_bias(),),
    softmax_rows=True,
    channel_multiple=32,
    palette_slot=22,
    presets=presets.matched((2, 2, 13, 2), (2, 2, 7, 2), head_dim=16),
    layouts=presets.tiny_layout((64, 128, 256, 512), (3, 4, 18, 5), (3, 3, 3, 3)),
)
class NeighborhoodAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). A side shorter than kernel x dilation is zero-padded to that length, below or to
    the right, before the projection; padding is attended to (its keys and values are the bias), as in NATTEN."""

    config: NeighborhoodAttnConfig

    def __init__(self, config: NeighborhoodAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = QkvProjection(config.dim)
        self.proj = nn.Linear(config.dim, config.dim)
        side = 2 * config.kernel - 1
        # entry (key - query) / dilation + kernel - 1, in y and in x
        self.relative_bias = nn.Parameter(torch.zeros(config.heads, side, side)) if config.relative_bias else None
        if self.relative_bias is not None:
            nn.init.trunc_normal_(self.relative_bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        x = self._padded(x)
        mixed = self._plain(x) if torch.jit.is_tracing() else self._tiled(self.qkv(x))  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        projected: Tensor = self.proj(mixed[:, :height, :width])
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, neighbour by neighbour: of all runs of K tokens of its own class, in y and in x, a query sees
        the run whose middle is nearest."""
        kernel, dilation, heads = self.config.kernel, self.config.dilation, self.config.heads
        height, width = x.shape[1:3]
        rows, columns = (max(size, kernel * dilation) for size in (height, width))
        padded = x.new_zeros(x.shape[0], rows, columns, x.shape[3])
        padded[:, :height, :width] = x
        q, k, v = (part.unflatten(3, (heads, -1)) for part in self.qkv(padded).chunk(3, dim=-1))

        def nearest(position: int, size: int) -> list[int]:
            own = [other for other in range(size) if (other - position) % dilation == 0]
            runs = [own[start : start + kernel] for start in range(len(own) - kernel + 1)]
            return min(runs, key=lambda run: abs(run[kernel // 2] - position))

        down, across = ([nearest(position, size) for position in range(size)] for size in (rows, columns))
        logits, values = [], []
        for i, j in itertools.product(range(kernel), repeat=2):  # every query's i-th row and j-th column of neighbours
            ys, xs = [run[i] for run in down], [run[j] for run in across]
            logit = (q * k[:, ys][:, :, xs]).sum(dim=-1) / q.shape[-1] ** 0.5  # B, H, W, heads
            if self.relative_bias is not None:
                dy = [(key - y) // dilation + kernel - 1 for y, key in enumerate(ys)]
                dx = [(key - x_) // dilation + kernel - 1 for x_, key in enumerate(xs)]
                logit = logit + self.relative_bias[:, dy][:, :, dx].permute(1, 2, 0)
            logits.append(logit)
            values.append(v[:, ys][:, :, xs])
        mixed = (torch.stack(logits).softmax(dim=0)[..., None] * torch.stack(values)).sum(dim=0)
        projected: Tensor = self.proj(mixed.flatten(3)[:, :height, :width])
        return projected

    def affinity(self, x: Tensor) -> WindowAffinity:
        """(B, H, W, C) -> (B, heads, H * W, columns): K^2 weights a row; columns are the padded map's tokens."""
        height, width = x.shape[1:3]
        x = self._padded(x)
        rows, columns = x.shape[1:3]
        weights, keys = self._weights(x)
        positions = torch.arange(rows * columns, device=x.device)[:, None]
        return WindowAffinity(
            weights,
            queries=cropped_positions(positions, columns, height, width),
            keys=keys,
            outputs=height * width,
            columns=map_columns(height, width, padded=(rows, columns), device=x.device),
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, columns, d): those of padding are the value bias."""
        return split_into_heads(self.qkv.values(self._padded(x)), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        projected: Tensor = self.proj(join_heads(mixed, height, width))
        return projected

    def no_weight_decay(self) -> set[str]:
        """The bias table."""
        return {"relative_bias"} if self.config.relative_bias else set()

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """NATTEN's modules call the table `rpb`."""
        return {"relative_bias" if name == "rpb" else name: tensor for name, tensor in state.items()}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections (qkv on the padded map) and 2 N K^2 C for the two products."""
        dim, kernel = self.config.dim, self.config.kernel
        padded = max(height, kernel * self.config.dilation) * max(width, kernel * self.config.dilation)
        return padded * (3 * dim * dim + 2 * kernel * kernel * dim) + height * width * dim * dim

    def _padded(self, x: Tensor) -> Tensor:
        least = self.config.kernel * self.config.dilation
        return extended(x, *(max(0, least - size) for size in x.shape[1:3]))

    def _tiled(self, qkv: Tensor) -> Tensor:
        """The mixed values (B, H, W, 3 C) -> (B, H, W, C): each residue class of the dilation is cut into tiles of
        queries, and a tile attends to the smallest rectangle with all its neighbours, under a mask."""
        batch, height, width, channels = qkv.shape
        heads, dilation = self.config.heads, self.config.dilation
        tiles = [_tile(size, self.config.kernel, dilation) for size in (height, width)]
        step = [tile * dilation for tile in tiles]
        rows, columns = (padded_size(size, each) for size, each in zip((height, width), step, strict=True))
        # queries: position (tile * T + place) * dilation + class of each axis; classes and tiles join the heads
        q, kv = qkv[..., : channels // 3], qkv[..., channels // 3 :]
        q = extended(q, rows - height, columns - width)
        q = q.reshape(batch, rows // step[0], tiles[0], dilation, columns // step[1], tiles[1], dilation, heads, -1)
        order = (0, 7, 3, 1, 6, 4, 2, 5, 8)  # B, heads, class, tile, class, tile, T, T, d
        q = q.permute(order)
        # keys and values: gathered for each tile
        keys = [self._axis(_tile_keys, size, tile) for size, tile in zip((height, width), tiles, strict=True)]
        kv = kv.reshape(batch, height * width, 2, heads, -1).permute(2, 0, 3, 1, 4)  # 2, B, heads, N, d
        if len(keys[0]) * len(keys[1]) > 1:  # else the one tile's keys are the map
            down, across = (key.clamp(max=size - 1) for key, size in zip(keys, (height, width), strict=True))
            index = down[:, None, :, None] * width + across[None, :, None, :]  # groups, groups, S, S
            kv = kv.index_select(3, index.flatten())
        bias = self._bias(height, width, tiles, qkv)
        k, v = kv.reshape(2, batch, bias.shape[1], bias.shape[3], -1).unbind(0)
        y = window_attention(q.reshape(batch, bias.shape[1], bias.shape[2], -1), k, v, bias).view(q.shape)
        mixed = y.permute([order.index(axis) for axis in range(9)]).reshape(batch, rows, columns, -1)
        return mixed[:, :height, :width]

    def _bias(self, height: int, width: int, tiles: list[int], like: Tensor) -> Tensor:
        """What is added to the logits of a tile: (1, heads * groups, T * T, S * S)."""
        side, heads = 2 * self.config.kernel - 1, self.config.heads
        table = like.new_zeros(heads, side, side) if self.relative_bias is None else self.relative_bias
        table = F.pad(table, (0, 1, 0, 1), value=FAR)  # the last row and column: no neighbour
        y, x = (
            F.one_hot(self._axis(_tile_entries, size, tile), side + 1).to(table.dtype)  # groups, T, S, 2K
            for size, tile in zip((height, width), tiles, strict=True)
        )
        # by products, whose gradient is a product: adding up the table's gradient entry by entry is slow
        bias: Tensor = torch.einsum("hyx,aqky,bplx->habqpkl", table, y, x)
        return bias.reshape(1, -1, y.shape[1] * x.shape[1], y.shape[2] * x.shape[2])

    def _plain(self, x: Tensor) -> Tensor:
        """The mixed values of the padded map with K^2 gathered keys for each query: what a trace, which is for counting
        or export, shows."""
        weights, keys = self._weights(x)  # B, heads, N, 1, K^2
        v = split_into_heads(self.qkv.values(x), self.config.heads)
        return join_heads((weights @ v[:, :, keys]).squeeze(3), *x.shape[1:3])

    def _weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of a padded map: the weights (B, heads, N, 1, K^2) and the positions (N, K^2) of every token's neighbours."""
        height, width, dim = x.shape[1:]
        y, x_ = (_neighbours(size, self.config.kernel, self.config.dilation, x.device) for size in (height, width))
        keys = (y[:, None, :, None] * width + x_[None, :, None, :]).flatten(2).flatten(0, 1)
        weight, bias = self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim]
        q, k = (split_into_heads(part, self.config.heads) for part in F.linear(x, weight, bias).chunk(2, dim=3))
        logits = (q[..., None, :] * q.shape[-1] ** -0.5) @ k[:, :, keys].transpose(3, 4)  # B, heads, N, 1, K^2
        if self.relative_bias is not None:
            dy, dx = (
                (key - torch.arange(len(key), device=x.device)[:, None]) // self.config.dilation
                + self.config.kernel - 1
                for key in (y, x_)
            )  # fmt: skip
            entries = self.relative_bias[:, dy[:, None, :, None], dx[None, :, None, :]]  # heads, H, W, K, K
            logits = logits + entries.flatten(3).flatten(1, 2)[:, :, None]
        return logits.softmax(dim=-1), keys

    def _axis(self, make: Callable[[int, int, int, int, torch.device], Tensor], size: int, tile: int) -> Tensor:
        return make(size, self.config.kernel, self.config.dilation, tile, self.qkv.weight.device)


def _tile(size: int, kernel: int, dilation: int) -> int:
    """Side of a tile: the kernel's, or a short residue class as a whole."""
    length = -(-size // dilation)
    return length if length <= 2 * kernel else kernel


@cached_table
def _neighbours(size: int, kernel: int, dilation: int, device: torch.device) -> Tensor:
    """(size, K): the neighbours of each position of an axis, in order."""
    position = torch.arange(size, device=device)
    residue = position % dilation
    last = (size - 1 - residue) // dilation  # place of the last token of the position's class
    first = (position // dilation - kernel // 2).clamp(min=0).minimum(last - kernel + 1)
    return (first[:, None] + torch.arange(kernel, device=device)) * dilation + residue[:, None]


@cached_table
def _tile_keys(size: int, kernel: int, dilation: int, tile: int, device: torch.device) -> Tensor:
    """(classes * tiles, S): the keys of each tile of an axis, in order. In a class that is shorter than others the last
    may lie past the end of the axis, and is no neighbour of any token."""
    length = -(-size // dilation)
    span = min(tile + kernel - 1, length)
    first = (torch.arange(0, length, tile, device=device) - kernel // 2).clamp(0, length - span)
    place = first[:, None] + torch.arange(span, device=device)
    return (place * dilation + torch.arange(dilation, device=device)[:, None, None]).flatten(0, 1)


@cached_table
def _tile_entries(size: int, kernel: int, dilation: int, tile: int, device: torch.device) -> Tensor:
    """(classes * tiles, T, S) long: the table's row for each query and key of a tile; 2K - 1 for no neighbour."""
    keys = _tile_keys(size, kernel, dilation, tile, device)[:, None] // dilation
    residue = torch.arange(dilation, device=device)[:, None, None]
    length = -(-size // dilation)
    last = (size - 1 - residue) // dilation  # place of a class's last token
    place = torch.arange(padded_size(length, tile), device=device).view(-1, tile).minimum(last)  # classes, tiles, T
    first = (place - kernel // 2).clamp(min=0).minimum(last - kernel + 1)
    place, first = (each.flatten(0, 1)[..., None] for each in (place, first))
    inside = (keys >= first) & (keys < first + kernel)
    return torch.where(inside, keys - place + kernel - 1, 2 * kernel - 1)
