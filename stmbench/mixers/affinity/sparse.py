"""Affinities with few entries per row: stencils (convolutions), windows (local attention), points (bilinear)."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity.base import Affinity, Kind
from stmbench.mixers.affinity.columns import Columns


class SparseAffinity(Affinity):
    """Rows from entries. A column may appear several times in a row's entries: the weights add up."""

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        columns, weights = self.entries(queries)
        return scattered(columns, weights, self.shape[3]).expand(self.shape[0], -1, -1, -1)


def scattered(columns: Tensor, weights: Tensor, size: int) -> Tensor:
    """Columns (broadcastable to the weights) and weights (B, heads, Q, K) -> dense rows (B, heads, Q, size)."""
    rows = weights.new_zeros((*weights.shape[:3], size))
    return rows.scatter_add(3, columns.expand_as(weights), weights)


class StencilAffinity(SparseAffinity):
    """Weights of taps at fixed offsets, on a map whose columns are its own tokens. A tap outside the map finds zero.

    A depthwise convolution has as many heads as channels, with d = 1; kernels shared within a head have `heads` heads.

    Args:
        weights: (B or 1, heads, N_out or 1, taps): 1 where all images, or all positions, share them.
        offsets: (taps, 2) long: (dy, dx) from the output position to the tap, each pair once.
        columns: of the map, without padding.
        kind: static (a kernel), or dynamic (weights computed from the input).
        batch: images.
    """

    def __init__(self, weights: Tensor, offsets: Tensor, columns: Columns, *, kind: Kind, batch: int) -> None:
        super().__init__((batch, weights.shape[1], len(columns), len(columns)), columns, kind)
        self._weights, self._offsets = weights, offsets

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Columns (Q, taps) and weights (B or 1, heads, Q, taps), zero where the tap is outside the map."""
        height, width = self.columns.height, self.columns.width
        y = queries[:, None] // width + self._offsets[:, 0]
        x = queries[:, None] % width + self._offsets[:, 1]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        weights = self._weights if self._weights.shape[2] == 1 else self._weights[:, :, queries]
        return torch.where(inside, y * width + x, 0), weights * inside

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N, d) -> (B, heads, N, d): tap by tap, nothing larger than the values is built."""
        mixed = torch.zeros_like(values)
        positions = torch.arange(len(self.columns), device=values.device)
        for tap in range(len(self._offsets)):
            one = StencilAffinity(
                self._weights[..., tap : tap + 1],
                self._offsets[tap : tap + 1],
                self.columns,
                kind=self._kind,
                batch=self.shape[0],
            )
            columns, weights = one.entries(positions)  # N, 1 and B or 1, heads, N, 1
            mixed = mixed + weights * values[:, :, columns[:, 0]]
        return mixed


def square_offsets(side: int, device: torch.device | None = None) -> Tensor:
    """(side^2, 2): (dy, dx) of the taps of a side x side kernel about its centre, row by row, as PyTorch's are."""
    step = torch.arange(side, device=device) - side // 2
    return torch.cartesian_prod(step, step)


class WindowAffinity(SparseAffinity):
    """Weights (B, heads, windows, M, K) with the positions of the queries and of the keys.

    Args:
        weights: (B, heads, windows, M, K): of each key of a window, in each query of it.
        queries: (windows, M) long: output position of each query, -1 for one that is thrown away (padding).
        keys: (windows, K) long: column of each key, -1 for one that does not exist (its weight must be zero).
        outputs: N_out. Every output position is a query of exactly one window.
    """

    def __init__(
        self, weights: Tensor, *, queries: Tensor, keys: Tensor, outputs: int, columns: Columns, kind: Kind = "dynamic"
    ) -> None:
        super().__init__((weights.shape[0], weights.shape[1], outputs, len(columns)), columns, kind)
        self._weights, self._keys = weights, keys
        slots = queries.flatten()
        real = slots >= 0
        assert int(real.sum()) == outputs, f"{int(real.sum())} queries for {outputs} output positions"
        self._slot = torch.empty(outputs, dtype=torch.long, device=slots.device)  # of each output, window * M + query
        self._slot[slots[real]] = real.nonzero().flatten()

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Columns (Q, K) and weights (B, heads, Q, K)."""
        slot = self._slot[queries]
        keys = self._keys[slot // self._weights.shape[3]]
        return keys.clamp(min=0), self._weights.flatten(2, 3)[:, :, slot] * (keys >= 0)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""
        seen = values[:, :, self._keys.clamp(min=0)] * (self._keys >= 0)[..., None]  # B, heads, windows, K, d
        mixed = self._weights @ seen  # B, heads, windows, M, d
        return mixed.flatten(2, 3)[:, :, self._slot]


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
        """(B, heads, N_in, d) -> (B, heads, N_out, d): point by point, or as a matrix where that is smaller."""
        if self._index.shape[3] >= values.shape[2]:
            return scattered(self._index, self._weights, values.shape[2]) @ values
        mixed = values.new_zeros((*self.shape[:3], values.shape[3]))
        for index, weights in zip(self._index.unbind(3), self._weights.unbind(3), strict=True):
            seen = values.gather(2, index[..., None].expand(-1, -1, -1, values.shape[3]))
            mixed = mixed + weights[..., None] * seen
        return mixed


def bilinear_points(
    positions: Tensor, weights: Tensor, *, height: int, width: int, outside: int
) -> tuple[Tensor, Tensor]:
    """Sampled points as columns of the map: four neighbours for each.

    Args:
        positions: (..., K, 2), (x, y) in tokens of a height x width map; weights: (..., K).
        outside: the column that neighbours off the map are given.

    Returns:
        index (..., 4 K) long and weights (..., 4 K).
    """
    corner = positions.floor()
    fraction = positions - corner
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
