"""The bootstrap over many images and many quantities at once: the same resamples for all, in little memory.

`statistics.interval` keeps every resample in memory, which 50,000 images times 2,000 draws do not allow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stmbench.measure.statistics import DRAWS, LEVEL, Floats, Interval

AT_ONCE = 4_000_000  # images drawn in one step


def resampled_means(values: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(draws, quantities) means over images drawn with replacement, each draw the same images for every quantity.

    Args:
        values: (images, quantities), at least one image.
    """
    table = np.asarray(values, dtype=np.float64)
    count = len(table)
    random, found = np.random.default_rng(seed), []
    step = max(1, min(draws, AT_ONCE // count))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = random.integers(0, count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        found.append(times.astype(np.float64) @ table / count)
    return np.concatenate(found)


def mean_intervals(values: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> list[Interval]:
    """The mean over images of each quantity, (images, quantities), with its percentile bootstrap interval.

    For what is right or wrong, or lies between 0 and 1, see `shares`: near an end too few resamples differ. One image
    has no interval: its ends are NaN. Where all images agree the interval has no width.
    """
    table = np.asarray(values, dtype=np.float64)
    if len(table) < 2:
        return [_without(float(value), len(table)) for value in (table.mean(0) if len(table) else [])]
    means = resampled_means(table, draws=draws, seed=seed)
    return [
        _interval(float(estimate), column, len(table), level)
        for estimate, column in zip(table.mean(0), means.T, strict=True)
    ]


def _interval(estimate: float, drawn: Floats, count: int, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high), count=count)


def _without(estimate: float, count: int) -> Interval:
    return Interval(estimate=estimate, low=float("nan"), high=float("nan"), count=count)
