"""Shifted-window attention: self-attention in non-overlapping windows that move by half a window in odd blocks.

Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021, section 3.2.
For a window's tokens X, head by head (their eq. 4, B from a (2M-1) x (2M-1) table):

    Y = softmax(Q K^T / sqrt(d) + B) V
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.kernels.window_attention import Layers
from stmbench.kernels.window_attention import window_attention as window_kernel
from stmbench.mixers.affinity import WindowAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, Preset, register_mixer
from stmbench.mixers.ops import cached_table, has_its_methods, is_eager_on_cpu, is_unchanged, takes_single
from stmbench.mixers.ops.attention import key_bias
from stmbench.mixers.ops.windows import (
    cropped_positions,
    merge_heads,
    pad_to_windows,
    padded_size,
    require_fitting,
    split_heads,
    window_attention,
    window_positions,
)

SEPARATED = -100.0  # added to the logits of tokens that only the cyclic shift brought into one window


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwAttnConfig(MixerConfig):
    """`heads` heads in windows of `window` x `window` tokens, moved up and left by `shift`."""

    heads: int
    window: int = 7
    shift: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.window >= 1, "window >= 1", self.window)
        require(0 <= self.shift < self.window, f"0 <= shift < window {self.window}", self.shift)


def config_at(position: BlockPosition, *, window: int = 7, head_dim: int = 32) -> SwAttnConfig:
    """Odd blocks of a stage are shifted by half a window."""
    require(position.dim % head_dim == 0, f"dim {position.dim} divisible by head_dim", head_dim)
    require_fitting("window", window, position.resolution)
    shift = window // 2 if position.block % 2 else 0
    return SwAttnConfig(dim=position.dim, heads=position.dim // head_dim, window=window, shift=shift)


def _presets() -> dict[str, Preset]:
    wide, deep = (96, 192, 384, 768), (2, 2, 18, 2)
    return {
        "nano": Preset(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), options={"window": 4, "head_dim": 16}),
        "micro": Preset(dims=(32, 64, 128, 256), depths=(2, 2, 9, 2)),
        "tiny": Preset(dims=wide, depths=(2, 2, 6, 2), drop_path=0.2),
        "small": Preset(dims=wide, depths=deep, drop_path=0.3),
        "base": Preset(dims=(128, 256, 512, 1024), depths=deep, drop_path=0.5),
    }


@register_mixer(
    "sw_attn",
    config=SwAttnConfig,
    config_at=config_at,
    title="Shifted Window (Swin) Attention",
    abbreviation="SW-Attn",
    family="Local Attention",
    sampling="local",
    weights="dynamic",
    method="Swin Transformer",
    citation="Liu et al., ICCV 2021",
    zero_gradient=(key_bias(),),
    palette_slot=2,
    softmax_rows=True,
    channel_multiple=32,
    presets=_presets(),
    published_convention=frozenset({"conv", "linear", "matmul", "norm", "pool"}),
)
class SwAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Maps that the window does not divide are zero-padded below and to the
    right; padding is attended to."""

    config: SwAttnConfig

    def __init__(self, config: SwAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.proj = nn.Linear(config.dim, config.dim)
        # one row for each offset (dy, dx), one column for each head
        self.relative_bias = nn.Parameter(torch.zeros((2 * config.window - 1) ** 2, config.heads))
        nn.init.trunc_normal_(self.relative_bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        layers = self._layers() if is_eager_on_cpu(x) else None
        height, width = x.shape[1:3]
        if layers is not None and takes_single(x, *layers.tensors) and layers.fit(x):
            shift, x = self._shift(x), pad_to_windows(x, self.config.window)
            return window_kernel(x, layers, window=self.config.window, shift=shift, height=height, width=width)
        x, shift = self._arrange(x)
        rows, columns = x.shape[1:3]
        q, k, v = split_heads(self.qkv(x), self.config.window, 3, self.config.heads)  # B, windows, heads, M^2, d
        bias = self._bias(rows, columns, shift)
        y = _attend(q, k, v, bias)
        y = merge_heads(y, self.config.window, rows, columns)
        if shift:
            y = y.roll((shift, shift), (1, 2))
        projected: Tensor = self.proj(y[:, :height, :width])
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, window by window and head by head; who sees whom, and through which entry of the table, follows
        from the tokens' coordinates."""
        window, depth = self.config.window, self.config.dim // self.config.heads
        height, width = x.shape[1:3]
        shift = self.config.shift if height > window and width > window else 0
        rows, columns = (math.ceil(size / window) * window for size in (height, width))
        padded = x.new_zeros(x.shape[0], rows, columns, x.shape[3])
        padded[:, :height, :width] = x
        mixed = torch.zeros_like(padded)
        y, x_ = (c.flatten() for c in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"))
        # where a token is once the map has moved up and left; tokens above or left of the shift come back at the end
        moved = torch.stack(((y - shift) % rows, (x_ - shift) % columns))
        wrapped = torch.stack((y < shift, x_ < shift))
        for down in range(rows // window):
            for right in range(columns // window):
                own = ((moved[0] // window == down) & (moved[1] // window == right)).nonzero()[:, 0]
                tokens = padded[:, y[own], x_[own]]  # B, M^2, C
                q, k, v = self.qkv(tokens).split(self.config.dim, dim=-1)
                dy, dx = (position[own][:, None] - position[own][None, :] for position in moved)  # from key to query
                entry = (dy + window - 1) * (2 * window - 1) + dx + window - 1
                apart = (wrapped[:, own, None] != wrapped[:, None, own]).any(0)
                for head in range(self.config.heads):
                    part = slice(head * depth, (head + 1) * depth)
                    logits = q[..., part] @ k[..., part].transpose(1, 2) / depth**0.5
                    logits = logits + self.relative_bias[entry, head] + SEPARATED * apart
                    mixed[:, y[own], x_[own], part] = logits.softmax(dim=-1) @ v[..., part]
        projected: Tensor = self.proj(mixed[:, :height, :width])
        return projected

    def affinity(self, x: Tensor) -> WindowAffinity:
        """(B, H, W, C) -> (B, heads, H * W, columns): the padded map's tokens. Across the seam of the cyclic shift the
        weights are e^-100 and less; padding is seen as any other token."""
        window, (height, width) = self.config.window, x.shape[1:3]
        x, shift = self._arrange(x)
        rows, columns = x.shape[1:3]
        q, k, _ = split_heads(self.qkv(x), window, 3, self.config.heads)  # B, windows, heads, M^2, d
        logits = q @ k.transpose(3, 4) * q.shape[-1] ** -0.5 + self._bias(rows, columns, shift)
        positions = window_positions(rows, columns, window, shift, x.device)
        return WindowAffinity(
            logits.softmax(dim=-1).transpose(1, 2),
            queries=cropped_positions(positions, columns, height, width),
            keys=positions,
            outputs=height * width,
            columns=map_columns(height, width, padded=(rows, columns), device=x.device),
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, columns, d): those of padding are the value bias."""
        weight, bias = self.qkv.weight[2 * self.config.dim :], self.qkv.bias[2 * self.config.dim :]
        return split_into_heads(F.linear(pad_to_windows(x, self.config.window), weight, bias), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        projected: Tensor = self.proj(join_heads(mixed, height, width))
        return projected

    def no_weight_decay(self) -> set[str]:
        """The bias table."""
        return {"relative_bias"}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections (qkv on the padded map) and 2 N M^2 C for the two products."""
        dim, window = self.config.dim, self.config.window
        padded = padded_size(height, window) * padded_size(width, window)
        return padded * (3 * dim * dim + 2 * window * window * dim) + height * width * dim * dim

    def _layers(self) -> Layers | None:
        """For the kernel; None where a part is not what it was built as, or is watched."""
        if not has_its_methods(self, SwAttn) or not all(
            is_unchanged(each, nn.Linear) for each in (self.qkv, self.proj)
        ):
            return None  # a subclass may attend otherwise
        return Layers(qkv=self.qkv, output=self.proj, bias=self._relative_bias())

    def _shift(self, x: Tensor) -> int:
        """Tokens; 0 where one window is as large as the map."""
        return self.config.shift if min(x.shape[1:3]) > self.config.window else 0

    def _arrange(self, x: Tensor) -> tuple[Tensor, int]:
        """Pad, then shift cyclically."""
        shift = self._shift(x)
        x = pad_to_windows(x, self.config.window)
        return (x.roll((-shift, -shift), (1, 2)) if shift else x), shift

    def _bias(self, rows: int, columns: int, shift: int) -> Tensor:
        """What is added to the logits: (1, 1 or windows, heads, M^2, M^2)."""
        bias = self._relative_bias()[None, None]
        if not shift:
            return bias
        return bias + _separation(rows, columns, self.config.window, shift, bias.dtype, bias.device)

    def _relative_bias(self) -> Tensor:
        """(heads, M^2, M^2)."""
        window, heads = self.config.window, self.config.heads
        index = _offset_index(window, self.relative_bias.device)
        return self.relative_bias[index].view(window**2, window**2, heads).permute(2, 0, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v for (B, windows, heads, M^2, d), as one call of four dimensions."""
    shape = q.shape
    if bias.shape[1] == 1:  # the same bias in every window: windows join the batch
        y = window_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), bias[0])
    else:  # a bias for each window, which masks what the shift brought together: windows join the heads
        q, k, v, bias = (part.flatten(1, 2) for part in (q, k, v, bias))
        y = window_attention(q, k, v, bias, is_mask=True)
    return y.reshape(shape)


@cached_table
def _offset_index(window: int, device: torch.device) -> Tensor:
    """Row of the bias table for each (query, key) of a window, flat: (query - key + M - 1) in y, then in x."""
    position = torch.arange(window, device=device)
    y, x = (c.flatten() for c in torch.meshgrid(position, position, indexing="ij"))
    dy, dx = (c[:, None] - c[None, :] + window - 1 for c in (y, x))
    return (dy * (2 * window - 1) + dx).flatten()


@cached_table
def _separation(rows: int, columns: int, window: int, shift: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, windows, 1, M^2, M^2): SEPARATED where query and key come from different sides of the cyclic seam."""
    # after the shift, tokens of the last window come from two regions: before and after the seam
    region = [torch.arange(size, device=device).ge(size - shift).long() for size in (rows, columns)]
    label = region[0][:, None] * 2 + region[1][None, :]  # rows, columns
    label = label.view(rows // window, window, columns // window, window).permute(0, 2, 1, 3).reshape(-1, window**2)
    # only the last row and column of windows hold two regions, so equal labels in one window mean one region
    apart = label[:, :, None] != label[:, None, :]
    mask = torch.zeros(apart.shape, dtype=dtype, device=device).masked_fill(apart, SEPARATED)
    return mask[None, :, None]
