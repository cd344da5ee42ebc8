"""Affinity of convolutions: taps at fixed offsets from the output position."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity.base import Kind
from stmbench.mixers.affinity.columns import Columns
from stmbench.mixers.affinity.sparse import SparseAffinity


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
        places = torch.arange(len(self.columns), device=values.device)
        for tap in range(len(self._offsets)):
            one = StencilAffinity(
                self._weights[..., tap : tap + 1],
                self._offsets[tap : tap + 1],
                self.columns,
                kind=self._kind,
                batch=self.shape[0],
            )
            columns, weights = one.entries(places)  # N, 1 and B or 1, heads, N, 1
            mixed = mixed + weights * values[:, :, columns[:, 0]]
        return mixed


def square_offsets(side: int, device: torch.device | None = None) -> Tensor:
    """(side^2, 2): (dy, dx) of the taps of a side x side kernel about its centre, row by row, as PyTorch's are."""
    step = torch.arange(side, device=device) - side // 2
    return torch.cartesian_prod(step, step)
