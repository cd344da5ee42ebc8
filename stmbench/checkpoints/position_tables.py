"""Tables of relative positions and position embeddings, made for one window or resolution and wanted for another.

What the authors of the models do: the unified models' embeddings bilinear, and the halo's offsets linear, both with
aligned corners (Hu et al.); tables of windows bicubic (Swin); embeddings of patches bicubic and antialiased (timm).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from stmbench.architectures.blocks import resized_position

Shape = tuple[int, ...]
_MOST_EXTRA = 5  # rows that are no place: class, distillation and register tokens


def resized(name: str, value: Tensor, shape: Shape) -> Tensor | None:
    """`value` at another size, in float32 or better; None where `name` is no table, or no size but another width.

    Args:
        name: the model's name of the tensor; its last part says what it is.
        value: the file's tensor, in the model's layout.
        shape: the model's shape.
    """
    resize = _TABLES.get(name.rpartition(".")[2])
    if resize is None or value.ndim != len(shape) or not value.is_floating_point():
        return None
    found = resize(value if value.element_size() >= 4 else value.float(), shape)
    return found if found is not None and found.shape == shape else None


def _map(table: Tensor, shape: Shape) -> Tensor | None:
    """(1, H, W, C)."""
    return resized_position(table, *shape[1:3]) if len(shape) == 4 and table.shape[-1] == shape[-1] else None


def _offsets(table: Tensor, shape: Shape) -> Tensor | None:
    """(2 S - 1, d) of offsets along one axis."""
    if len(shape) != 2 or table.shape[1] != shape[1]:
        return None
    return F.interpolate(table.T[None], shape[0], mode="linear", align_corners=True)[0].T


def _windows(table: Tensor, shape: Shape) -> Tensor | None:
    """((2 S - 1)^2 + extra, heads), or (heads, 2 S - 1, 2 S - 1)."""
    if len(shape) == 3 and table.shape[0] == shape[0]:
        return F.interpolate(table[None], shape[1:], mode="bicubic")[0]
    if len(shape) != 2 or table.shape[1] != shape[1]:
        return None
    for extra in range(_MOST_EXTRA):
        old, new = _side(table.shape[0] - extra), _side(shape[0] - extra)
        if old and new and old % 2 and new % 2:
            places, rest = table[: old * old], table[old * old :]
            grid = F.interpolate(places.T.reshape(1, -1, old, old), (new, new), mode="bicubic")
            return torch.cat([grid.reshape(-1, new * new).T, rest])
    return None


def _patches(table: Tensor, shape: Shape) -> Tensor | None:
    """(1, extra + N, C) of a square grid, or a map with its channels first (1, C, H, W) or last."""
    if len(shape) == 4:
        first = table.shape[1] == shape[1]
        grid = table if first else table.permute(0, 3, 1, 2)
        size = shape[2:] if first else shape[1:3]
        found = F.interpolate(grid, size, mode="bicubic", antialias=True)
        return found if first else found.permute(0, 2, 3, 1)
    if len(shape) != 3 or table.shape[2] != shape[2]:
        return None
    for extra in range(_MOST_EXTRA):
        old, new = _side(table.shape[1] - extra), _side(shape[1] - extra)
        if old and new:
            found = resample_abs_pos_embed(table, [new, new], [old, old], num_prefix_tokens=extra)
            return found if isinstance(found, Tensor) else None
    return None


def _side(count: int) -> int | None:
    """Of a square of so many places."""
    side = math.isqrt(max(count, 0))
    return side if side > 1 and side * side == count else None


_TABLES: dict[str, Callable[[Tensor, Shape], Tensor | None]] = {
    "position": _map,
    "height_rel": _offsets,
    "width_rel": _offsets,
    "rel_pos_h": _offsets,
    "rel_pos_w": _offsets,
    "relative_bias": _windows,
    "relative_position_bias_table": _windows,
    "pos_embed": _patches,
    "position_embedding": _patches,
}
