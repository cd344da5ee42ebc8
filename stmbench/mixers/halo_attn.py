"""Halo attention: the queries of a window attend to the window and a band of `halo` tokens around it.

Vaswani et al., "Scaling Local Self-Attention for Parameter Efficient Visual Backbones", CVPR 2021, section 2.
For the queries Q of one window and the keys K of the enlarged one, head by head,

    Y = softmax(Q K^T / sqrt(d) + Q R_h^T + Q R_w^T) V

where R_h, R_w are learned embeddings of the vertical and the horizontal offset (Hu et al. leave these terms unscaled
and mask what lies outside the map).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.kernels.halo_attention import halo_attention
from stmbench.kernels.setting import can_run_in
from stmbench.mixers.affinity import WindowAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, Preset, ZeroGradient, register_mixer
from stmbench.mixers.ops import cached_table, needs_gradient
from stmbench.mixers.ops.windows import (
    cropped_positions,
    halo_tokens,
    merge_heads,
    pad_to_windows,
    padded_size,
    relative_bias,
    relative_window_attention,
    require_fitting,
    split_heads,
    window_positions,
)

Variant = Literal["standard", "switch", "1px", "shift"]
VARIANTS = ("standard", "switch", "1px", "shift")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HaloAttnConfig(MixerConfig):
    """Windows of `window` queries a side, keys from `before` tokens above/left to `after` tokens below/right of it."""

    heads: int
    window: int = 7
    before: int = 3
    after: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.window >= 1, "window >= 1", self.window)
        require(self.before >= 0 and self.after >= 0, "a halo >= 0", (self.before, self.after))

    @property
    def reach(self) -> int:
        """Side of the keys' window."""
        return self.before + self.window + self.after


def config_at(
    position: BlockPosition, *, window: int = 7, halo: int = 3, head_dim: int = 32, variant: Variant = "standard"
) -> HaloAttnConfig:
    """Table VII's variants: `switch` has a halo in odd blocks only, `1px` a halo of one token, `shift` the query window
    in the top left corner of a key window of the same size."""
    for name, value in (("window", window), ("halo", halo)):
        require_fitting(name, value, position.resolution)
    require(variant in VARIANTS, f"a variant ({', '.join(VARIANTS)})", variant)
    require(position.dim % head_dim == 0, f"dim {position.dim} divisible by head_dim", head_dim)
    before = after = {"switch": halo * (position.block % 2), "1px": 1}.get(variant, halo)
    if variant == "shift":
        before, after = 0, 2 * halo
    return HaloAttnConfig(dim=position.dim, heads=position.dim // head_dim, window=window, before=before, after=after)


def _presets() -> dict[str, Preset]:
    wide, deep = (96, 192, 384, 768), (2, 2, 18, 2)
    small_map = {"window": 4, "halo": 2, "head_dim": 16}
    return {
        "nano": Preset(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), norm_eps=1e-5, options=small_map),
        "micro": Preset(dims=(32, 64, 128, 256), depths=(2, 2, 9, 2), norm_eps=1e-5),
        "tiny": Preset(dims=wide, depths=(2, 2, 6, 2), norm_eps=1e-5, drop_path=0.2),
        "small": Preset(dims=wide, depths=deep, norm_eps=1e-5, drop_path=0.3),
        "base": Preset(dims=(128, 256, 512, 1024), depths=deep, norm_eps=1e-5, drop_path=0.5),
    }


@register_mixer(
    "halo_attn",
    config=HaloAttnConfig,
    config_at=config_at,
    title="Halo Attention",
    abbreviation="Halo-Attn",
    family="Local Attention",
    sampling="local",
    weights="dynamic",
    method="HaloNet",
    citation="Vaswani et al., CVPR 2021",
    zero_gradient=tuple(
        ZeroGradient(
            parameter=name,
            part="the first rows (one less than the window's side)",
            reason="a query is never that far below or right of a key; the authors' table has these rows",
        )
        for name in ("height_rel", "width_rel")
    ),
    palette_slot=0,
    softmax_rows=True,
    channel_multiple=32,
    presets=_presets(),
    published_convention=frozenset({"conv", "linear"}),
)
class HaloAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Maps that do not divide into windows are zero-padded below and right; that padding
    is attended to (its keys and values are zero), what lies outside the padded map is not."""

    config: HaloAttnConfig

    def __init__(self, config: HaloAttnConfig) -> None:
        super().__init__()
        self.config = config
        depth = config.dim // config.heads
        self.q = nn.Linear(config.dim, config.dim, bias=False)
        self.kv = nn.Linear(config.dim, 2 * config.dim, bias=False)  # head by head: [k, v]
        self.proj = nn.Linear(config.dim, config.dim)
        # row (key - query + reach - 1), with key and query counted from the corners of their own windows
        self.height_rel = nn.Parameter(torch.randn(2 * config.reach - 1, depth) * depth**-0.5)
        self.width_rel = nn.Parameter(torch.randn(2 * config.reach - 1, depth) * depth**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        x = pad_to_windows(x, self.config.window)
        projected: Tensor = self.proj(self._attend(self.q(x), self.kv(x))[:, :height, :width])
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, query by query: gather the keys that exist, weigh them, sum."""
        config, (height, width) = self.config, x.shape[1:3]
        depth, window = config.dim // config.heads, config.window
        bottom, right = -height % window, -width % window
        x = torch.cat((x, x.new_zeros(x.shape[0], bottom, width, config.dim)), dim=1)
        x = torch.cat((x, x.new_zeros(x.shape[0], height + bottom, right, config.dim)), dim=2)
        q, kv, y = self.q(x), self.kv(x), torch.zeros_like(x)
        for row in range(height):
            for column in range(width):
                top, left = row // window * window - config.before, column // window * window - config.before
                ys = range(max(top, 0), min(top + config.reach, x.shape[1]))
                xs = range(max(left, 0), min(left + config.reach, x.shape[2]))
                seen = kv[:, ys.start : ys.stop, xs.start : xs.stop]  # B, h, w, 2 C
                # offsets from the window corner of the query to that of the key, made non-negative
                dy = [key - top - row % window + config.reach - 1 for key in ys]
                dx = [key - left - column % window + config.reach - 1 for key in xs]
                for head in range(config.heads):
                    query = q[:, row, column, head * depth : (head + 1) * depth]
                    keys, values = seen[..., 2 * head * depth : 2 * (head + 1) * depth].split(depth, dim=-1)
                    logits = torch.einsum("bd,bhwd->bhw", query, keys) * depth**-0.5
                    logits = (
                        logits + (query @ self.height_rel[dy].T)[:, :, None] + (query @ self.width_rel[dx].T)[:, None]
                    )
                    weights = logits.flatten(1).softmax(dim=-1).view_as(logits)
                    y[:, row, column, head * depth : (head + 1) * depth] = torch.einsum("bhw,bhwd->bd", weights, values)
        projected: Tensor = self.proj(y[:, :height, :width])
        return projected

    def affinity(self, x: Tensor) -> WindowAffinity:
        """(B, H, W, C) -> (B, heads, H * W, columns): the padded map's tokens; what lies outside it has no weight."""
        config, (height, width) = self.config, x.shape[1:3]
        x = pad_to_windows(x, config.window)
        rows, columns = x.shape[1:3]
        (q,) = split_heads(self.q(x), config.window, 1, config.heads)
        k, _ = self._neighbourhoods(self.kv(x))
        logits = q.flatten(0, 1) @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        logits = logits + relative_bias(*self._relative_terms(q, rows, columns))
        weights = logits.softmax(dim=-1).view(*q.shape[:4], -1)  # B, windows, heads, M^2, reach^2
        positions = window_positions(rows, columns, config.window, 0, x.device)
        return WindowAffinity(
            weights.transpose(1, 2),
            queries=cropped_positions(positions, columns, height, width),
            keys=key_positions(rows, columns, config.window, config.before, config.reach, x.device),
            outputs=height * width,
            columns=map_columns(height, width, padded=(rows, columns), device=x.device),
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, columns, d): those of padding are zero."""
        kv = split_into_heads(self.kv(pad_to_windows(x, self.config.window)), self.config.heads)
        return kv.chunk(2, dim=-1)[1]

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        projected: Tensor = self.proj(join_heads(mixed, height, width))
        return projected

    def no_weight_decay(self) -> set[str]:
        """The two tables of offsets."""
        return {"height_rel", "width_rel"}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections, 2 N R^2 C for the two products, 2 N R C for the relative terms (R: reach)."""
        dim, window, reach = self.config.dim, self.config.window, self.config.reach
        padded = padded_size(height, window) * padded_size(width, window)
        return padded * (3 * dim * dim + 2 * reach * reach * dim + 2 * reach * dim) + height * width * dim * dim

    def _attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """(B, H, W, C) and (B, H, W, 2 C), maps of whole windows -> (B, H, W, C)."""
        config, given = self.config, (q, kv, self.height_rel, self.width_rel)
        if not needs_gradient(*given) and can_run_in(*given):
            mixed: Tensor = halo_attention(*given, config.heads, config.window, config.before, config.reach)
            return mixed
        rows, columns = q.shape[1:3]
        (q,) = split_heads(q, config.window, 1, config.heads)  # B, windows, heads, M^2, d
        k, v = self._neighbourhoods(kv)  # B * windows, heads, reach^2, d
        y = relative_window_attention(q.flatten(0, 1), k, v, *self._relative_terms(q, rows, columns))
        return merge_heads(y.reshape(q.shape), config.window, rows, columns)

    def _neighbourhoods(self, kv: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, 2 C) -> keys and values (B * windows, heads, reach^2, d) of each window's enlarged window."""
        config = self.config
        return halo_tokens(kv, config.heads, config.window, config.before, config.reach)

    def _relative_terms(self, q: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """The relative terms and the mask of a key's row and of its column: (B, windows, heads, M^2, d) -> two tensors
        (B * windows, heads, M^2, reach)."""
        config, (batch, windows, heads, _, depth) = self.config, q.shape
        window, reach = config.window, config.reach
        q = q.reshape(batch * windows * heads, window, window, depth)
        index = offset_rows(window, reach, q.device)
        vertical = torch.einsum("nrcd,rkd->nrck", q, self.height_rel[index])  # reach offsets for each row of queries
        horizontal = torch.einsum("nrcd,ckd->nrck", q, self.width_rel[index])
        # a key is outside the map when its row or its column is: the mask goes in before the two are added
        outside_rows, outside_columns = outside(rows, columns, window, config.before, reach, q.dtype, q.device)
        shape, merged = (batch, windows, heads, window, window, reach), (batch * windows, heads, window**2, reach)
        vertical = (vertical.reshape(shape) + outside_rows).reshape(merged)
        return vertical.contiguous(), (horizontal.reshape(shape) + outside_columns).reshape(merged).contiguous()


@cached_table
def offset_rows(window: int, reach: int, device: torch.device) -> Tensor:
    """(M, reach): the table's row for query r and key k of one axis."""
    query, key = torch.arange(window, device=device), torch.arange(reach, device=device)
    return key[None, :] - query[:, None] + reach - 1


@cached_table
def outside(
    rows: int, columns: int, window: int, before: int, reach: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Very negative where a key's row [0], or its column [1], is outside the map: (2, 1, windows, 1, 1, 1, reach)."""
    masks = []
    for size in (rows, columns):
        start = torch.arange(0, size, window, device=device)[:, None] - before
        position = start + torch.arange(reach, device=device)  # windows along this axis, reach
        mask = torch.zeros(position.shape, dtype=dtype, device=device)
        # a quarter of the lowest number: the sum of two stays finite, and exp of it is exactly zero
        masks.append(mask.masked_fill((position < 0) | (position >= size), torch.finfo(dtype).min / 4))
    down, across = (len(mask) for mask in masks)
    vertical, horizontal = masks[0][:, None].expand(-1, across, -1), masks[1][None].expand(down, -1, -1)
    return torch.stack((vertical, horizontal)).view(2, 1, down * across, 1, 1, 1, reach)


def key_positions(rows: int, columns: int, window: int, before: int, reach: int, device: torch.device) -> Tensor:
    """(windows, reach^2): the position on the padded map of every key of every window, -1 outside."""
    step = torch.arange(reach, device=device) - before
    y, x = (torch.arange(0, size, window, device=device)[:, None] + step for size in (rows, columns))  # windows, reach
    y, x = y[:, None, :, None], x[None, :, None, :]
    positions = torch.where((y >= 0) & (y < rows) & (x >= 0) & (x < columns), y * columns + x, -1)
    return positions.flatten(2).flatten(0, 1)
