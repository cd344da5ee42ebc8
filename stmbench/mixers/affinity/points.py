"""Affinity of sampled points: each output takes K columns that it chose itself, each with a weight."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity.base import Kind
from stmbench.mixers.affinity.columns import Columns
from stmbench.mixers.affinity.sparse import SparseAffinity


class PointAffinity(SparseAffinity):
    """K columns and weights for each image, head and output. Points may share a column: their weights add up.

    Args:
        index: (B, heads, N_out, K) long, columns.
        weights: (B, heads, N_out, K).
    """

    def __init__(self, index: Tensor, weights: Tensor, columns: Columns, *, kind: Kind = "dynamic") -> None:
        super().__init__((*weights.shape[:3], len(columns)), columns, kind)
        self._index, self._weights = index, weights

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Columns and weights (B, heads, Q, K): points that share a column have become one entry."""
        index, order = self._index[:, :, queries].sort(dim=-1)
        weights = self._weights[:, :, queries].gather(3, order)
        # number of each point's column among those of its row: one more wherever the sorted column changes
        number = torch.zeros_like(index)
        number[..., 1:] = (index[..., 1:] != index[..., :-1]).cumsum(dim=-1)
        return torch.zeros_like(index).scatter(3, number, index), torch.zeros_like(weights).scatter_add(
            3, number, weights
        )

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d): point by point."""
        mixed = values.new_zeros((*self.shape[:3], values.shape[3]))
        for index, weights in zip(self._index.unbind(3), self._weights.unbind(3), strict=True):
            seen = values.gather(2, index[..., None].expand(-1, -1, -1, values.shape[3]))
            mixed = mixed + weights[..., None] * seen
        return mixed


def bilinear_points(places: Tensor, weights: Tensor, *, height: int, width: int, outside: int) -> tuple[Tensor, Tensor]:
    """Sampled points as columns of the map: four neighbours for each.

    Args:
        places: (..., K, 2), (x, y) in tokens of a height x width map; weights: (..., K).
        outside: the column that neighbours off the map are given.

    Returns:
        index (..., 4 K) long and weights (..., 4 K).
    """
    corner = places.floor()
    fraction = places - corner
    indices, factors = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            near = (1 - (fraction[..., 0] - dx).abs()) * (1 - (fraction[..., 1] - dy).abs())
            x, y = corner[..., 0] + dx, corner[..., 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            # clamped before they become integers: what a huge float turns into is undefined
            column = y.clamp(0, height - 1).long() * width + x.clamp(0, width - 1).long()
            indices.append(torch.where(inside, column, outside))
            factors.append(near * weights)
    return torch.cat(indices, dim=-1), torch.cat(factors, dim=-1).to(weights.dtype)
