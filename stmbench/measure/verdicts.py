"""The verdict on a change between base and head: effects, their errors, and the decision (see docs/compare.md).

An effect is a number for which 0 means no change: the logarithm of head / base, or head - base. Its standard error
combines what the bootstrap of the rounds finds with what resampling a single run cannot see: how much two runs of the
same code differ.

A change is claimed if it is both significant (its p-value, corrected for interim looks and for the number of findings,
is below alpha) and relevant (the estimate exceeds the margin). 'same' is claimed if the whole 95 % interval lies within
the margin. Everything else is inconclusive.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from stmbench.measure.bootstrap import MEDIAN_ERROR_DRAWS, median_standard_error
from stmbench.measure.statistics import MIN_ROUNDS, Floats
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
