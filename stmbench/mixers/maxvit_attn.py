"""MaxViT's attention: in even blocks within windows, in odd blocks among tokens that are spread over the whole map.

Tu et al., "MaxViT: Multi-Axis Vision Transformer", ECCV 2022, section 3.2. For a group of P x P tokens X, head by head,
with B from a (2P-1) x (2P-1) table of offsets within the group:

    Y = softmax(Q K^T / sqrt(d) + B) V

A group is a window ("block") or, with as many groups, a grid of P x P tokens that lie H/P and W/P apart ("grid"): what
is far depends on the resolution. Each of the authors' blocks has both, one after the other; here they take turns. The
released models come in two layouts, that of the authors (tf) and timm's own (rw): `from_published` reads both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import WindowAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import cached_table
from stmbench.mixers.ops.attention import QkvProjection, key_bias, num_heads
from stmbench.mixers.ops.windows import cropped_positions, extended, padded_size, require_fitting, window_attention

Partition = Literal["block", "grid"]
PARTITIONS = ("block", "grid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaxvitAttnConfig(MixerConfig):
    """`heads` heads in groups of `window` (rows, columns) tokens, which are neighbours (block) or spread (grid)."""

    heads: int
    window: tuple[int, int] = (7, 7)
    partition: Partition = "block"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(min(self.window) >= 1, "window >= 1", self.window)
        require(self.partition in PARTITIONS, "partition block or grid", self.partition)


def config_at(position: BlockPosition, *, window: int = 7, head_dim: int = 32) -> MaxvitAttnConfig:
    """Even blocks of a stage have windows, odd ones grids."""
    require_fitting("window", window, position.resolution)
    return MaxvitAttnConfig(
        dim=position.dim,
        heads=num_heads(position.dim, head_dim, None),
        window=(window, window),
        partition="grid" if position.block % 2 else "block",
    )


@register_mixer(
    "maxvit_attn",
    config=MaxvitAttnConfig,
    config_at=config_at,
    title="Multi-Axis (MaxViT) Attention",
    abbreviation="Max-Attn",
    family="Local Attention",
    sampling="global",
    weights="dynamic",
    method="MaxViT",
    citation="Tu et al., ECCV 2022",
    zero_gradient=(key_bias(),),
    softmax_rows=True,
    channel_multiple=32,
    palette_slot=24,
    presets=presets.matched((2, 2, 13, 2), (2, 2, 7, 2), window=4, head_dim=16),
    layouts=presets.tiny_layout((64, 128, 256, 512), (4, 4, 10, 4)),
)
class MaxvitAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Maps that the window does not divide are zero-padded below and to the right, before
    the projection; padding is attended to. The authors' code refuses such maps."""

    config: MaxvitAttnConfig

    def __init__(self, config: MaxvitAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = QkvProjection(config.dim)
        self.proj = nn.Linear(config.dim, config.dim)
        # entry query - key + size - 1, in rows and in columns of the group
        self.relative_bias = nn.Parameter(torch.zeros(config.heads, *(2 * size - 1 for size in config.window)))
        nn.init.trunc_normal_(self.relative_bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        x = self._padded(x)
        qkv = self.qkv(self._groups(x))
        qkv = qkv.view(*qkv.shape[:2], 3, self.config.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # B * groups, heads, P * P, d
        mixed = window_attention(q, k, v, self._bias()).transpose(1, 2).flatten(2)
        projected: Tensor = self.proj(self._map(mixed, *x.shape[1:3])[:, :height, :width])
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, group by group: in a grid, tokens belong together that are equally far into their cell."""
        (tall, wide), dim = self.config.window, self.config.dim
        height, width = x.shape[1:3]
        rows, columns = height + -height % tall, width + -width % wide
        padded = x.new_zeros(x.shape[0], rows, columns, dim)
        padded[:, :height, :width] = x
        mixed = torch.zeros_like(padded)
        y, x_ = (c.flatten() for c in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"))
        if self.config.partition == "block":
            group, place = (y // tall) * (columns // wide) + x_ // wide, (y % tall, x_ % wide)
        else:
            down, across = rows // tall, columns // wide  # the cells
            group, place = (y % down) * across + x_ % across, (y // down, x_ // across)
        for number in range(rows * columns // (tall * wide)):
            own = (group == number).nonzero()[:, 0]
            tokens = self.qkv(padded[:, None, y[own], x_[own]])  # B, 1, P * P, 3 C
            q, k, v = (split_into_heads(part, self.config.heads) for part in tokens.chunk(3, dim=3))
            dy, dx = (axis[own][:, None] - axis[own][None, :] for axis in place)  # from key to query
            bias = self.relative_bias[:, dy + tall - 1, dx + wide - 1]
            weights = (q @ k.transpose(2, 3) / k.shape[3] ** 0.5 + bias).softmax(dim=3)
            mixed[:, y[own], x_[own]] = join_heads(weights @ v, 1, len(own))[:, 0]
        projected: Tensor = self.proj(mixed[:, :height, :width])
        return projected

    def affinity(self, x: Tensor) -> WindowAffinity:
        """(B, H, W, C) -> (B, heads, H * W, columns): the padded map's tokens."""
        batch, height, width, dim = x.shape
        x = self._padded(x)
        rows, columns = x.shape[1:3]
        groups = self._groups(x)
        qk = F.linear(groups, self.qkv.weight[: 2 * dim], self.qkv.bias[: 2 * dim])
        q, k = qk.view(batch, -1, groups.shape[1], 2, self.config.heads, dim // self.config.heads).unbind(3)
        logits = torch.einsum("bgqhd,bgkhd->bhgqk", q, k) * q.shape[-1] ** -0.5
        bias = self._bias()[0][None, :, None]
        positions = self._groups(torch.arange(rows * columns, device=x.device).view(1, rows, columns, 1))[..., 0]
        return WindowAffinity(
            (logits + bias).softmax(dim=-1),
            queries=cropped_positions(positions, columns, height, width),
            keys=positions,
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
        return {"relative_bias"}

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """timm's `PartitionAttentionCl` or its `AttentionCl`. In the rw layout the table is (entries, heads), and the
        projection's rows are laid out head by head; in the tf layout the table's entries are key - query."""
        table = "rel_pos.relative_position_bias_table"
        named = {name.removeprefix("attn."): tensor for name, tensor in state.items()}
        if table not in named:
            return named
        bias, heads = named.pop(table), self.config.heads
        if bias.ndim == 3:
            return {**named, "relative_bias": bias.flip(1, 2)}
        for name in ("qkv.weight", "qkv.bias"):
            if name in named:
                rows = named[name]
                named[name] = rows.reshape(heads, 3, -1).transpose(0, 1).reshape(rows.shape)
        return {**named, "relative_bias": bias.T.reshape(-1, *self.relative_bias.shape[1:])}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections (qkv on the padded map) and 2 N P^2 C for the two products."""
        dim, (tall, wide) = self.config.dim, self.config.window
        padded = padded_size(height, tall) * padded_size(width, wide)
        return padded * (3 * dim * dim + 2 * tall * wide * dim) + height * width * dim * dim

    def _padded(self, x: Tensor) -> Tensor:
        sizes = zip(x.shape[1:3], self.config.window, strict=True)
        return extended(x, *(padded_size(size, window) - size for size, window in sizes))

    def _groups(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B * groups, P * P, C)."""
        batch, rows, columns, dim = x.shape
        tall, wide = self.config.window
        if self.config.partition == "block":
            x = x.reshape(batch, rows // tall, tall, columns // wide, wide, dim).permute(0, 1, 3, 2, 4, 5)
        else:
            x = x.reshape(batch, tall, rows // tall, wide, columns // wide, dim).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(-1, tall * wide, dim)

    def _map(self, groups: Tensor, rows: int, columns: int) -> Tensor:
        """(B * groups, P * P, C) -> (B, H, W, C)."""
        (tall, wide), dim = self.config.window, groups.shape[2]
        x = groups.reshape(-1, rows // tall, columns // wide, tall, wide, dim)
        x = x.permute((0, 1, 3, 2, 4, 5) if self.config.partition == "block" else (0, 3, 1, 4, 2, 5))
        return x.reshape(-1, rows, columns, dim)

    def _bias(self) -> Tensor:
        """What is added to the logits of a group: (1, heads, P * P, P * P)."""
        index = _offset_index(*self.config.window, self.relative_bias.device)
        tokens = self.config.window[0] * self.config.window[1]
        return self.relative_bias.flatten(1)[:, index].view(1, -1, tokens, tokens)


@cached_table
def _offset_index(tall: int, wide: int, device: torch.device) -> Tensor:
    """Entry of the bias table for each (query, key) of a group, flat."""
    token = torch.arange(tall * wide, device=device)
    y, x = token // wide, token % wide
    dy, dx = y[:, None] - y + tall - 1, x[:, None] - x + wide - 1
    return (dy * (2 * wide - 1) + dx).flatten()
