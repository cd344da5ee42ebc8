"""Sums over the taps of a K x K neighbourhood: with one kernel for all positions, and with weights per position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def kernel_sum(x: Tensor, kernel: Tensor) -> Tensor:
    """A depthwise convolution with zero padding, tap by tap: x (B, H, W, C), kernel (C, K, K) -> (B, H, W, C)."""
    height, width = x.shape[1:3]
    side = kernel.shape[-1]
    radius = side // 2
    padded = F.pad(x, (0, 0, radius, radius, radius, radius))
    y = torch.zeros_like(x)
    for i in range(side):
        for j in range(side):
            y = y + padded[:, i : i + height, j : j + width] * kernel[:, i, j]
    return y


def local_sums(values: Tensor, taps: Tensor, side: int, halves: int = 1) -> Tensor:
    """y[p, c] = sum over taps t of w[t, p, g(c)] v[p + offset(t), c], zero padding outside the map.

    Args:
        values: (B, H, W, C).
        taps: (K * K, B, H, W, G) weights, taps row by row; channel c uses weight c mod G, or, with `halves`, within
            each half of the channels by itself, weight c mod G/halves of that half.
        side: K, of the neighbourhood.

    Returns:
        (B, H, W, C).
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        return contracted_sums(values, taps, side, halves)  # a trace is for counting or export: show the plain form
    batch, height, width, dim = values.shape
    count, groups = side**2, taps.shape[-1]
    radius, own = side // 2, groups // halves
    shape = (batch, height, width, halves, dim // groups, own)
    padded = F.pad(values, (0, 0, radius, radius, radius, radius))
    padded = padded.view(batch, height + 2 * radius, width + 2 * radius, *shape[3:])
    weights = taps.contiguous().view(count, batch, height, width, halves, 1, own)
    total: Tensor | None = None
    for tap in range(count):
        row, column = divmod(tap, side)
        shifted = padded[:, row : row + height, column : column + width]
        total = shifted * weights[tap] if total is None else torch.addcmul(total, shifted, weights[tap])
    assert total is not None
    return total.reshape(batch, height, width, dim)


def contracted_sums(values: Tensor, taps: Tensor, side: int, halves: int = 1) -> Tensor:
    """The same by unfolding and one contraction: K * K copies of the values."""
    batch, height, width, dim = values.shape
    count, groups = side**2, taps.shape[-1]
    radius, own = side // 2, groups // halves
    padded = F.pad(values, (0, 0, radius, radius, radius, radius))
    shifted = [
        padded[:, row : row + height, column : column + width] for row in range(side) for column in range(side)
    ]  # fmt: skip
    stacked = torch.stack(shifted).view(count, batch, height, width, halves, dim // groups, own)
    weights = taps.reshape(count, batch, height, width, halves, own)
    return torch.einsum("tbhwarg,tbhwag->bhwarg", stacked, weights).reshape(batch, height, width, dim)
