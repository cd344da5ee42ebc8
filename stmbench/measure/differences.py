"""Differences between two sets of answers, as effects: image by image where the images are the same, else as samples.

A bootstrap of few answers, or of answers that nearly all agree, has a width near 0 and a p-value that is far too small.
So what is right or wrong is counted: McNemar's exact test with Agresti and Min's interval where answers are paired,
Fisher's exact test with Newcombe's interval where they are not. What has a value for each image (a log-likelihood, an
area under a curve) gets the same two on its own scale: signs are flipped, and the interval has Agresti and Min's form.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from stmbench.measure.mcnemar import mcnemar
from stmbench.measure.shares import Z, difference, share_of
from stmbench.measure.statistics import Floats, Interval
from stmbench.measure.verdicts import Effect

EXACT_SIGNS: Final = 16  # differing images whose 2^n signs are all tried; beyond, the normal limit with a correction


def paired_difference(base: ArrayLike, head: ArrayLike, *, reach: float | None = None) -> Effect:
    """The mean over images of head - base, of the same images in the same order: (images,) each.

    Args:
        reach: the largest difference that one image can make: 1 for shares, 2 for Brier scores; None where there is no
            largest one, and then the largest value at either side stands for it.
    """
    before, after = np.asarray(base, dtype=np.float64), np.asarray(head, dtype=np.float64)
    if all(np.isin(values, (0, 1)).all() for values in (before, after)):
        hits = after.astype(bool), before.astype(bool)
        return _effect(difference(*hits), p=mcnemar(*hits).p)
    if reach is None:
        reach = float(max(np.abs(before).max(), np.abs(after).max()))
    return _effect(_mean_interval(after - before, reach), p=sign_flip_p(after - before))


def difference_of_shares(base: tuple[int, int], head: tuple[int, int]) -> Effect:
    """Head's share minus base's, of (hits, images) each, of which nothing says who is paired with whom.

    Newcombe's (1998, method 10) interval from the two of Wilson, and Fisher's exact test.
    """
    return difference_of_intervals(share_of(*base), share_of(*head), p=fisher_p(base, head))


def difference_of_intervals(base: Interval, head: Interval, *, p: float | None = None) -> Effect:
    """Head's estimate minus base's, from their 95 % intervals taken as independent.

    Each end is as far from the difference as the two distances that lead there, root of the sum of squares (Newcombe
    1998; Zou and Donner 2008). `p` None is that of a normal difference.
    """
    estimate = head.estimate - base.estimate
    low = estimate - math.hypot(head.estimate - head.low, base.high - base.estimate)
    high = estimate + math.hypot(head.high - head.estimate, base.estimate - base.low)
    count = min(base.count, head.count)
    return _effect(Interval(estimate=estimate, low=low, high=high, count=count), p=p)


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p of no difference: were the two sides alike, each image's difference might have had the other sign.

    Exact up to 16 images that differ. Beyond, the sum is compared with a normal one of the same variance, less the
    smallest of the differences (for differences of 1 that is McNemar's test with Edwards' correction).
    """
    values = np.asarray(differences, dtype=np.float64)
    sizes, total = np.abs(values[values != 0]), abs(float(values.sum()))
    if not sizes.size:
        return 1.0
    if sizes.size > EXACT_SIGNS:
        reached = max(0.0, total - float(sizes.min())) / float(np.sqrt(np.square(sizes).sum()))
        return math.erfc(reached / math.sqrt(2))
    sums: Floats = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return float((np.abs(sums) >= total - 1e-9 * sizes.sum()).mean())


def fisher_p(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p of Fisher's exact test of two (hits, images): tables no more probable than the one seen."""
    (a, n), (b, m) = first, second
    hits = a + b
    places = range(max(0, hits - m), min(n, hits) + 1)
    logs = np.asarray([_log_choose(n, x) + _log_choose(m, hits - x) for x in places])
    logs -= logs.max()
    chances = np.exp(logs)
    seen = chances[a - places.start]
    return float(min(1.0, chances[chances <= seen * (1 + 1e-7)].sum() / chances.sum()))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _mean_interval(differences: Floats, reach: float) -> Interval:
    """Of (images,) differences: two images more, of which half a one has `reach` and half a one has minus `reach`.

    For differences of -1, 0 and 1 and a reach of 1 this is Agresti and Min's interval.
    """
    count, total = len(differences), float(differences.sum())
    more, squares = count + 2, float(np.square(differences).sum()) + reach**2
    margin = Z * math.sqrt(max(0.0, squares - total**2 / more)) / more
    estimate, centre = total / count, total / more
    low, high = max(-reach, centre - margin), min(reach, centre + margin)
    return Interval(estimate=estimate, low=min(estimate, low), high=max(estimate, high), count=count)


def _effect(found: Interval, *, p: float | None) -> Effect:
    error = (found.high - found.low) / (2 * Z)
    return Effect(estimate=found.estimate, error=error, count=found.count, ends=(found.low, found.high), p=p)
