"""Rounds that resemble their neighbours: how much they do, and resampling that keeps neighbours together.

Load comes in bursts that last longer than a round. Drawn one by one, rounds would count as more than they are.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST: Final = 10  # rounds; of fewer nothing can be said about neighbours
MOST: Final = 0.9  # of autocorrelation: beyond, a series wanders and no resampling mends it


def autocorrelation(values: ArrayLike) -> float:
    """Of (rounds,) values the rank correlation of neighbours, from 0 to 0.9; 0 where there are too few to say.

    An estimate r of n values lies low by about (1 + 3 r) / n (Kendall 1954), which is added. Ranks, because one wild
    round would decide alone otherwise.
    """
    data = np.asarray(values, dtype=np.float64)
    count = len(data)
    if count < FEWEST:
        return 0.0
    _, places, times = np.unique(data, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[places]  # equal values share theirs
    ranks = ranks - ranks.mean()
    spread = float((ranks * ranks).sum())
    if spread == 0:
        return 0.0
    r = float((ranks[1:] * ranks[:-1]).sum()) / spread
    return min(max(r + (1 + 3 * r) / count, 0.0), MOST)


def block_length(correlation: float, count: int) -> int:
    """Rounds in a block: 6^(1/3) (r / (1 - r^2))^(2/3) n^(1/3), at least 1 and at most a quarter of the n rounds.

    It is the length that estimates a variance best with circular blocks, where neighbours are correlated by r, their
    neighbours by r^2, and so on (Politis and White 2004).
    """
    best: float = (6 * count) ** (1 / 3) * (correlation / (1 - correlation**2)) ** (2 / 3)
    return max(1, min(math.ceil(best), count // 4))


def shortfall(correlation: float, length: int, count: int) -> float:
    """By how much blocks of `length` make an interval too narrow: what correlation they cut off, and their few ends."""
    if correlation == 0:
        return 1.0
    lags = np.arange(1, length)
    kept = 1 + 2 * float(((1 - lags / length) * correlation**lags).sum())
    whole = (1 + correlation) / (1 - correlation)
    return math.sqrt(whole / kept * count / (count - length))


def resamples(rounds: int, *, length: int = 1, draws: int, seed: int) -> NDArray[np.intp]:
    """(draws, rounds) indices into the rounds: blocks from any start, drawn with replacement, wrapping round the end.

    The circular block bootstrap (Politis and Romano 1992); with a length of 1 the plain one (Efron 1979).
    """
    starts = np.random.default_rng(seed).integers(0, rounds, size=(draws, -(-rounds // length)))
    if length == 1:
        return starts
    places: NDArray[np.intp] = (starts[:, :, None] + np.arange(length)).reshape(draws, -1)[:, :rounds] % rounds
    return places
