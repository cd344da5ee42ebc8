"""Changes between base and head as effects: their errors, exact tests, and the verdict (see docs/compare.md).

An effect is a number for which 0 means no change: the logarithm of head / base, or head - base. Its standard error
combines what the bootstrap of the rounds finds with what resampling a single run cannot see: how much two runs of the
same code differ.

A change is claimed if it is both significant (its p-value, corrected for interim looks and for the number of findings,
is below alpha) and relevant (the estimate exceeds the margin). 'same' is claimed if the whole 95 % interval lies within
the margin. Everything else is inconclusive.

With few predictions, or predictions that nearly all agree, a bootstrap interval has almost no width and its p-value is
far too small. Hits are therefore counted: McNemar's exact test with Agresti and Min's interval for two models on the
same images, Fisher's exact test with Newcombe's interval for independent samples. Values per image (a log-likelihood,
an area under a curve) are treated likewise on their own scale: a sign-flip test and an interval of the same form.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from stmbench.measure.bootstrap import MEDIAN_ERROR_DRAWS, median_standard_error
from stmbench.measure.proportions import Z, paired_proportion_difference, wilson_interval
from stmbench.measure.statistics import MIN_ROUNDS, Floats, Interval
from stmbench.tables.comparison_result import Verdict

ALPHA = 0.01  # of all claims of a comparison together
POWER = 0.8
_NORMAL = NormalDist()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect:
    """The `estimate` of a change (0: none), its standard `error`, and the `count` of rounds or images behind it.

    `ends` and `p` are an interval and a p-value from an exact method, for data that are not normal (few predictions).
    """

    estimate: float
    error: float
    count: int
    ends: tuple[float, float] | None = None
    p: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        if self.ends is not None:
            return self.ends
        reach = _NORMAL.inv_cdf(0.975) * self.error
        return self.estimate - reach, self.estimate + reach

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no change. Without any error it is 0, or 1 if the estimate is 0."""
        if self.p is not None:
            return self.p
        if self.error == 0:
            return 0.0 if self.estimate else 1.0
        return 2 * _NORMAL.cdf(-abs(self.estimate) / self.error)

    def widened(self, between: float) -> Effect:
        """The effect with the standard deviation `between` repeated measurements added to its error."""
        return dataclasses.replace(self, error=math.hypot(self.error, between))


def paired_effect(base: ArrayLike, head: ArrayLike, *, draws: int = MEDIAN_ERROR_DRAWS, seed: int = 0) -> Effect:
    """The median over rounds of log(head / base); both (rounds,), positive, in the order of measurement."""
    logs = np.log(np.asarray(head, dtype=np.float64)) - np.log(np.asarray(base, dtype=np.float64))
    if len(logs) < MIN_ROUNDS:
        return Effect(estimate=float(np.median(logs)) if len(logs) else math.nan, error=math.inf, count=len(logs))
    return Effect(
        estimate=float(np.median(logs)), error=median_standard_error(logs, draws=draws, seed=seed), count=len(logs)
    )


def unpaired_effect(base: ArrayLike, head: ArrayLike, *, draws: int = MEDIAN_ERROR_DRAWS, seed: int = 0) -> Effect:
    """The logarithm of median(head) / median(base) of two separate runs; (rounds,) each, positive."""
    logs = [np.log(np.asarray(values, dtype=np.float64)) for values in (base, head)]
    count = min(map(len, logs))
    if count == 0:
        return Effect(estimate=math.nan, error=math.inf, count=0)
    estimate = float(np.median(logs[1]) - np.median(logs[0]))
    if count < MIN_ROUNDS:
        return Effect(estimate=estimate, error=math.inf, count=count)
    errors = [median_standard_error(values, draws=draws, seed=seed + side) for side, values in enumerate(logs)]
    return Effect(estimate=estimate, error=math.hypot(*errors), count=count)


def between_group_error(values: Floats, groups: ArrayLike) -> float:
    """Standard error of a median from the spread of the groups' medians; 0 for fewer than three groups.

    Args:
        values: (n,).
        groups: (n,) the group of each value.
    """
    members = np.asarray(groups)
    medians = [np.median(values[members == group]) for group in np.unique(members)]
    return float(np.std(medians, ddof=1) / math.sqrt(len(medians))) if len(medians) >= 3 else 0.0


def decide_verdict(
    effect: Effect, p_corrected: float, *, margin: float, lower_is_better: bool = True, alpha: float = ALPHA
) -> Verdict:
    """The verdict on one effect.

    Args:
        p_corrected: its p-value after all corrections for multiple testing.
        margin: the largest irrelevant change, on the scale of the effect, >= 0.
        alpha: the error rate of all claims together.
    """
    if math.isnan(effect.estimate):
        return "inconclusive"
    if p_corrected < alpha and abs(effect.estimate) > margin:
        return "worse" if (effect.estimate > 0) == lower_is_better else "better"
    low, high = effect.interval
    return "same" if -margin <= low and high <= margin else "inconclusive"


def minimum_detectable_effect(error: float, *, margin: float, tests: int = 1, alpha: float = ALPHA) -> float:
    """The smallest true effect that is claimed with probability POWER if `tests` tests share alpha."""
    needed = -_NORMAL.inv_cdf(alpha / tests / 2) * error
    return max(needed, margin) + _NORMAL.inv_cdf(POWER) * error


EXACT_SIGNS: Final = 16  # up to so many differing images all 2^n signs are tried; beyond, a corrected normal limit
EXACT_PAIRS: Final = 1000  # discordant pairs; beyond, the corrected chi-square p is within 2 % of the exact one


def paired_difference(base: ArrayLike, head: ArrayLike, *, reach: float | None = None) -> Effect:
    """The mean over images of head - base; (images,) each, of the same images in the same order.

    Args:
        reach: the largest difference that one image can make: 1 for proportions, 2 for Brier scores. None if there is
            no bound; the largest value on either side then takes its place.
    """
    before, after = np.asarray(base, dtype=np.float64), np.asarray(head, dtype=np.float64)
    if all(np.isin(values, (0, 1)).all() for values in (before, after)):
        hits = after.astype(bool), before.astype(bool)
        return _effect(paired_proportion_difference(*hits), p=mcnemar(*hits).p)
    if reach is None:
        reach = float(max(np.abs(before).max(), np.abs(after).max()))
    return _effect(mean_difference(after - before, reach), p=sign_flip_p(after - before))


def difference_of_proportions(base: tuple[int, int], head: tuple[int, int]) -> Effect:
    """The proportion of head minus that of base, from (hits, images) each, for images that cannot be paired.

    Newcombe's (1998, method 10) interval from the two Wilson intervals, and Fisher's exact test.
    """
    return difference_of_intervals(wilson_interval(*base), wilson_interval(*head), p=fisher_p(base, head))


def difference_of_intervals(base: Interval, head: Interval, *, p: float | None = None) -> Effect:
    """The estimate of head minus that of base, from independent 95 % intervals.

    The distance of each end from the difference is the root of the sum of squares of the two distances that lead there
    (Newcombe 1998; Zou and Donner 2008). If `p` is None, a normal difference is assumed.
    """
    estimate = head.estimate - base.estimate
    low = estimate - math.hypot(head.estimate - head.low, base.high - base.estimate)
    high = estimate + math.hypot(head.high - head.estimate, base.estimate - base.low)
    count = min(base.count, head.count)
    return _effect(Interval(estimate=estimate, low=low, high=high, count=count), p=p)


@dataclasses.dataclass(frozen=True, kw_only=True)
class McNemar:
    """How many images only the first model gets right, how many only the second, and the two-sided p of no change."""

    only_first: int
    only_second: int
    p: float
    exact: bool

    @property
    def discordant(self) -> int:
        """The number of images that the test is based on."""
        return self.only_first + self.only_second


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's (1947) test of two (N,) arrays of hits on the same images in the same order.

    Without a difference each discordant image is a fair coin: p = min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c))), exact
    up to 1000 discordant images; beyond, chi-square with one degree of freedom and Edwards' continuity correction,
    (|b - c| - 1)^2 / (b + c).
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two sets of hits on the same images, got shapes {a.shape} and {b.shape}")
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    total, fewer = only_first + only_second, min(only_first, only_second)
    exact = total <= EXACT_PAIRS
    if exact:
        tail = sum(math.comb(total, k) for k in range(fewer + 1))
        p = min(1.0, 2 * tail / 2**total)  # division of integers rounds correctly, however large they are
    else:
        p = math.erfc(math.sqrt(max(0, abs(only_first - only_second) - 1) ** 2 / total / 2))
    return McNemar(only_first=only_first, only_second=only_second, p=p, exact=exact)


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p of no difference: without one, each image's difference could equally have had the other sign.

    Exact up to 16 differing images. Beyond, the sum is compared with a normal distribution of the same variance, less
    the smallest of the differences (for differences of 1 this is McNemar's test with Edwards' correction).
    """
    values = np.asarray(differences, dtype=np.float64)
    sizes, total = np.abs(values[values != 0]), abs(float(values.sum()))
    if not sizes.size:
        return 1.0
    if sizes.size > EXACT_SIGNS:
        score = max(0.0, total - float(sizes.min())) / float(np.sqrt(np.square(sizes).sum()))
        return math.erfc(score / math.sqrt(2))
    sums: Floats = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return float((np.abs(sums) >= total - 1e-9 * sizes.sum()).mean())


def fisher_p(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p of Fisher's exact test of two (hits, images): all tables no more probable than the observed one."""
    (a, n), (b, m) = first, second
    hits = a + b
    possible = range(max(0, hits - m), min(n, hits) + 1)
    logs = np.asarray([_log_choose(n, x) + _log_choose(m, hits - x) for x in possible])
    logs -= logs.max()
    weights = np.exp(logs)
    observed = weights[a - possible.start]
    return float(min(1.0, weights[weights <= observed * (1 + 1e-7)].sum() / weights.sum()))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def mean_difference(differences: Floats, reach: float = 1.0) -> Interval:
    """The mean of (images,) differences, each of at most `reach` up or down, with a 95 % interval.

    It is that of a mean to which one image is added, at half weight each of `reach` and of minus `reach`.
    For differences of -1, 0 and 1 and a reach of 1 this is Agresti and Min's interval.
    """
    count, total = len(differences), float(differences.sum())
    more, squares = count + 2, float(np.square(differences).sum()) + reach**2
    margin = Z * math.sqrt(max(0.0, squares - total**2 / more)) / more
    estimate, centre = total / count, total / more
    low, high = max(-reach, centre - margin), min(reach, centre + margin)
    return Interval(estimate=estimate, low=min(estimate, low), high=max(estimate, high), count=count)


def _effect(interval: Interval, *, p: float | None) -> Effect:
    error = (interval.high - interval.low) / (2 * Z)
    ends = (interval.low, interval.high)
    return Effect(estimate=interval.estimate, error=error, count=interval.count, ends=ends, p=p)
