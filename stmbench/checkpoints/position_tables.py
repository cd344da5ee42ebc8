"""Resize tables of relative positions and position embeddings for another window or resolution.

Each table is resized as the authors of its models do it: the unified models' embeddings bilinear and halo attention's
offsets linear, both with aligned corners (Hu et al.); tables of windows bicubic (Swin); embeddings of patches bicubic
and antialiased (timm). A function returns None if more than the window or the resolution differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from stmbench.architectures.layers import resized_position

Shape = tuple[int, ...]
Resize = Callable[[Tensor, Shape], Tensor | None]  # (table, the model's shape) -> the table at that shape
_MAX_EXTRA = 5  # rows that are no position: class, distillation and register tokens


def resize_map(table: Tensor, shape: Shape) -> Tensor | None:
    """A position embedding (1, H, W, C), bilinear."""
    return resized_position(table, *shape[1:3]) if len(shape) == 4 and table.shape[-1] == shape[-1] else None


def resize_offsets(table: Tensor, shape: Shape) -> Tensor | None:
    """Relative offsets (2 S - 1, d) along one axis of a window of side S, linear."""
    if len(shape) != 2 or table.shape[1] != shape[1]:
        return None
    return F.interpolate(table.T[None], shape[0], mode="linear", align_corners=True)[0].T


def resize_windows(table: Tensor, shape: Shape) -> Tensor | None:
    """A bias ((2 S - 1)^2 + extra, heads) or (heads, 2 S - 1, 2 S - 1) for windows of side S, bicubic."""
    if len(shape) == 3 and table.shape[0] == shape[0]:
        return F.interpolate(table[None], shape[1:], mode="bicubic")[0]
    if len(shape) != 2 or table.shape[1] != shape[1]:
        return None
    for extra in range(_MAX_EXTRA):
        old, new = _side(table.shape[0] - extra), _side(shape[0] - extra)
        if old and new and old % 2 and new % 2:
            positions, rest = table[: old * old], table[old * old :]
            grid = F.interpolate(positions.T.reshape(1, -1, old, old), (new, new), mode="bicubic")
            return torch.cat([grid.reshape(-1, new * new).T, rest])
    return None


def resize_patches(table: Tensor, shape: Shape) -> Tensor | None:
    """A position embedding (1, extra + N, C), (1, C, H, W) or (1, H, W, C) of a square grid, bicubic, antialiased."""
    if len(shape) == 4:
        first = table.shape[1] == shape[1]
        grid = table if first else table.permute(0, 3, 1, 2)
        size = shape[2:] if first else shape[1:3]
        resized = F.interpolate(grid, size, mode="bicubic", antialias=True)
        return resized if first else resized.permute(0, 2, 3, 1)
    if len(shape) != 3 or table.shape[2] != shape[2]:
        return None
    for extra in range(_MAX_EXTRA):
        old, new = _side(table.shape[1] - extra), _side(shape[1] - extra)
        if old and new:
            resized = resample_abs_pos_embed(table, [new, new], [old, old], num_prefix_tokens=extra)
            return resized if isinstance(resized, Tensor) else None
    return None


def _side(count: int) -> int | None:
    """Side of a square grid of `count` positions; None if it is no square."""
    side = math.isqrt(max(count, 0))
    return side if side > 1 and side * side == count else None
