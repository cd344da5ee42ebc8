"""From a map to a side: the smallest square around a centre that holds a share of the map's mass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rings(height: int, width: int, centre: tuple[float, float]) -> tuple[NDArray[np.int64], Floats]:
    """Which square each pixel completes, and the squares' sides.

    Squares are made of whole pixels: around a pixel's centre their sides are 1, 3, 5, ...; around a point midway
    between pixels 2, 4, 6, ... An axis whose centre lies elsewhere is counted from the next half pixel.

    Returns:
        (height, width) numbers of squares, and (squares,) sides in pixels.
    """
    y, x = (np.round(2 * c) / 2 for c in centre)
    rows, columns = np.abs(np.arange(height) - y), np.abs(np.arange(width) - x)
    # |pixel - centre| is the same half-integer or integer for all pixels of an axis; a square's half side covers both
    distance = np.maximum(rows[:, None], columns[None, :])
    sides, number = np.unique(2 * distance + 1, return_inverse=True)
    return number.reshape(height, width).astype(np.int64), sides.astype(np.float64)


def profile(maps: NDArray[np.floating], number: NDArray[np.int64], squares: int) -> Floats:
    """(..., H, W) maps -> (..., squares) mass that each square adds to the one before."""
    flat = np.asarray(maps, dtype=np.float64).reshape(-1, number.size)
    order = np.argsort(number, axis=None, kind="stable")
    starts = np.searchsorted(number.ravel()[order], np.arange(squares))
    found: Floats = np.add.reduceat(flat[:, order], starts, axis=1)
    return found.reshape(*maps.shape[:-2], squares)


def sides_holding(mass: Floats, sides: Floats, share: float) -> Floats:
    """(..., squares) masses -> (...) side in pixels of the smallest square that holds `share` of the total.

    NaN where there is no mass at all.
    """
    total = mass.sum(-1, keepdims=True)
    held = np.cumsum(mass, axis=-1)
    # rounding in the sum must not push a share that is met exactly into the next square
    enough = held >= share * total * (1 - 1e-12)
    first = enough.argmax(-1)
    return np.where(total[..., 0] > 0, sides[first], np.nan)
