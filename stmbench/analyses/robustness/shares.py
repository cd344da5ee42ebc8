"""Intervals of shares of images, by resampling the images.

Resampling N images of which k are hits draws a binomial (N, k/N) number of hits, and a difference of paired hits draws
a multinomial: the bootstrap's distribution is sampled directly, whatever N is. Where all images agree (k = 0 or k = N)
every resample does too, and the interval has no width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stmbench.measure.statistics import DRAWS, LEVEL, Interval


def share(hits: NDArray[np.bool_], *, seed: int = 0) -> Interval:
    """The share of (N,) hits with its percentile bootstrap interval; NaN where there is no image."""
    count, number = len(hits), int(hits.sum())
    if not count:
        return Interval(estimate=np.nan, low=np.nan, high=np.nan, count=0)
    drawn = np.random.default_rng(seed).binomial(count, number / count, size=DRAWS) / count
    return _interval(number / count, drawn, count)


def difference(first: NDArray[np.bool_], second: NDArray[np.bool_], *, seed: int = 0) -> Interval:
    """The first share minus the second, of (N,) hits each on the same images, which are resampled in pairs."""
    count = len(first)
    if not count:
        return Interval(estimate=np.nan, low=np.nan, high=np.nan, count=0)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    cells = np.asarray([only_first, only_second, count - only_first - only_second]) / count
    drawn = np.random.default_rng(seed).multinomial(count, cells, size=DRAWS)
    return _interval((only_first - only_second) / count, (drawn[:, 0] - drawn[:, 1]) / count, count)


def _interval(estimate: float, drawn: NDArray[np.float64], count: int) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high), count=count)
