"""The difference between two models that were each trained several times and judged on the same images.

Seed s and image i give a difference d[s, i]: of hits, or of areas under curves. Both seeds and images are samples:
other ones would have given another mean, so the variance of the mean is the sum of both parts (seeds and images as
crossed random effects):

    var = var_s(mean_i d) / S + var_i(mean_s d) / N

The part that both share, the residual's variance / (S N), is counted twice: the interval is a little too wide, never
too narrow. The distribution is Student's t with Satterthwaite's (1946) degrees of freedom: with two or three seeds of
very different outcome there are only one or two, and the interval says so.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from stmbench.measure.effects import Effect, paired_difference
from stmbench.measure.statistics import LEVEL, Floats, Interval

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def repeated_difference(base: ArrayLike, head: ArrayLike, *, reach: float | None = None) -> Effect:
    """The mean over seeds and images of head - base.

    Args:
        base, head: (S, N) each: the same seeds and images in the same order.
        reach: the largest difference that one image can make; see `paired_difference`.

    Returns:
        With one seed the difference over images alone: nothing is known of other seeds.
    """
    before, after = np.asarray(base, dtype=np.float64), np.asarray(head, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(f"expected two arrays of (seeds, images), got shapes {before.shape} and {after.shape}")
    if len(before) == 1:
        return paired_difference(before[0], after[0], reach=reach)
    over_images = paired_difference(before.mean(axis=0), after.mean(axis=0), reach=reach)
    return combined((after - before).mean(axis=1), over_images.error, count=before.shape[1])


def repeated_interval_difference(base: list[Interval], head: list[Interval], *, resolution: float = 0.0) -> Effect:
    """The mean over seeds of head - base, of values that only have intervals: one for each seed, in the same order.

    Args:
        resolution: the step in which the values can be told apart; it adds the variance of rounding to steps.
    """
    differences = np.asarray([after.estimate - before.estimate for before, after in zip(base, head, strict=True)])
    # the images are the same for every seed, so their part does not shrink with more seeds
    halves = [math.hypot(b.high - b.low, h.high - h.low) / 2 for b, h in zip(base, head, strict=True)]
    rounding = resolution * math.sqrt(2 / 12)
    error = math.hypot(float(np.mean(halves)) / _Z, rounding)
    count = min(item.count for item in (*base, *head))
    if len(differences) == 1:
        return Effect(estimate=float(differences[0]), error=error, count=count)
    return combined(differences, error, count=count)


def combined(by_seed: Floats, image_error: float, *, count: int) -> Effect:
    """An effect from (S,) differences by seed, S >= 2, and the standard error that the images give their mean."""
    seeds = len(by_seed)
    estimate = float(by_seed.mean())
    parts = {seeds - 1: float(by_seed.var(ddof=1)) / seeds, max(1, count - 1): image_error**2}
    variance = sum(parts.values())
    if variance == 0:
        return Effect(estimate=estimate, error=0.0, count=count)
    freedom = variance**2 / sum(part**2 / degrees for degrees, part in parts.items())
    error = math.sqrt(variance)
    reach = t_quantile((1 + LEVEL) / 2, freedom) * error
    p = 2 * t_tail(abs(estimate) / error, freedom)
    return Effect(estimate=estimate, error=error, count=count, ends=(estimate - reach, estimate + reach), p=p)


def t_tail(t: float, freedom: float) -> float:
    """P(T > t) of Student's t, t >= 0, by Simpson's rule in the angle: t = sqrt(f) tan(a) makes the integrand smooth.

    P(T > t) = integral from arctan(t / sqrt f) to pi/2 of cos(a)^(f - 1) da, over the same integral from -pi/2.
    """
    log_whole = 0.5 * math.log(math.pi) + math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2)
    start = math.atan(t / math.sqrt(freedom))
    # beyond this many standard widths of the peak the integrand is 0 in double precision
    end = min(math.pi / 2, start + 40 / math.sqrt(max(1.0, freedom - 1)))
    angles = np.linspace(start, end, 4001)
    values = np.clip(np.cos(angles), 0.0, 1.0) ** (freedom - 1) if freedom > 1 else np.ones_like(angles)
    weights = np.ones_like(angles)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return float(weights @ values) * (end - start) / 12000 / math.exp(log_whole)


def t_quantile(p: float, freedom: float) -> float:
    """The t with P(T <= t) = p, p above 1/2, by bisection."""
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > 1 - p:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > 1 - p else (low, middle)
    return (low + high) / 2
