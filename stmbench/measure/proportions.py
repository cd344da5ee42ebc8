"""Confidence intervals of proportions of images, and of means of values between 0 and 1.

If none or all of the images are hits, as is common under an attack, all bootstrap resamples agree and the interval has
no width, however few images there are. The intervals here keep their width, and their 95 % coverage for few images.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stmbench.measure.statistics import LEVEL, Floats, Interval

Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96


def proportion(hits: NDArray[np.bool_]) -> Interval:
    """The proportion of (N,) hits; see `wilson_interval`."""
    return wilson_interval(int(hits.sum()), len(hits))


def wilson_interval(number: int, count: int) -> Interval:
    """The proportion p of `number` hits among N images with Wilson's (1927) score interval; NaN without images.

    (p + z^2/2N -+ z sqrt(p(1-p)/N + z^2/4N^2)) / (1 + z^2/N)
    """
    if not count:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, count=0)
    p = number / count
    centre, scale = p + Z**2 / (2 * count), 1 + Z**2 / count
    margin = Z * math.sqrt(p * (1 - p) / count + (Z / (2 * count)) ** 2)
    # at p = 0 and 1 one end is the estimate itself, except for rounding
    low, high = min(p, max(0.0, (centre - margin) / scale)), max(p, min(1.0, (centre + margin) / scale))
    return Interval(estimate=p, low=low, high=high, count=count)


def mean_proportion(values: Floats) -> Interval:
    """The mean of (N,) values in [0, 1], such as areas under curves of hits, with Agresti and Coull's (1998) interval.

    z^2/2 values of 0 and as many of 1 are added, and the mean of all of them has a normal interval. For hits this is
    exactly their interval.
    """
    count = len(values)
    if not count:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, count=0)
    estimate, more = float(values.mean()), count + Z**2
    centre = (float(values.sum()) + Z**2 / 2) / more
    spread = max(0.0, (float(np.square(values).sum()) + Z**2 / 2) / more - centre**2)
    margin = Z * math.sqrt(spread / more)
    low, high = max(0.0, centre - margin), min(1.0, centre + margin)
    return Interval(estimate=estimate, low=min(estimate, low), high=max(estimate, high), count=count)


def paired_proportion_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Interval:
    """The first proportion minus the second, of (N,) hits each on the same images, by Agresti and Min (2005).

    Of N images b are hits of the first only and c of the second only. With half an image added to each of the four
    cells, b* = b + 1/2, c* = c + 1/2, N* = N + 2:  (b* - c*)/N* -+ z sqrt(b* + c* - (b* - c*)^2/N*) / N*.
    """
    count = len(first)
    if not count:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, count=0)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    estimate, more = (only_first - only_second) / count, count + 2
    centre = (only_first - only_second) / more
    margin = Z * math.sqrt(only_first + only_second + 1 - (only_first - only_second) ** 2 / more) / more
    low, high = max(-1.0, centre - margin), min(1.0, centre + margin)
    return Interval(estimate=estimate, low=min(estimate, low), high=max(estimate, high), count=count)
