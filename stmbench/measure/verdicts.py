"""From samples of base and head to a verdict: pure functions of arrays. docs/compare.md has reasons and error rates.

An effect is a number whose zero means 'no change': the logarithm of head / base, or head - base. It comes with a
standard error, from resampling blocks of neighbouring rounds (bursts last longer than a round) and from what resampling
one run cannot see: how much two runs of the same code differ.

A change is claimed when it is both sure (its p-value, corrected for several looks and findings, is below alpha) and
large enough to matter (the estimate is beyond the margin). 'same' is claimed when the whole 95 % interval lies within
the margin. All else is not resolved.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmbench.measure.blocks import resamples
from stmbench.measure.statistics import Floats, outliers
from stmbench.tables.verdicts import Verdict

ALPHA = 0.01  # of all claims of a comparison together
POWER = 0.8
DRAWS = 1000
MIN_ROUNDS = 20  # fewer have no standard error worth the name
MOST_OUTLIERS = 0.25  # of the rounds; more are no outliers: the machine went at two speeds, and pairs bear that
_NORMAL = NormalDist()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect:
    """`estimate` of a change (0: none), its standard `error`, and the `count` of rounds or images it stands on.

    `ends` and `p` are those of what is no normal sample, such as a few answers: an interval and a test of its own.
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
        """Two-sided, of no change. An effect without error is certain: 0, or 1 where there is none."""
        if self.p is not None:
            return self.p
        if self.error == 0:
            return 0.0 if self.estimate else 1.0
        return 2 * _NORMAL.cdf(-abs(self.estimate) / self.error)

    def widened(self, between: float) -> Effect:
        """With the standard deviation `between` two measurements of the same thing added to its error."""
        return dataclasses.replace(self, error=math.hypot(self.error, between))


def kept_rounds(*probes: ArrayLike) -> NDArray[np.bool_]:
    """(rounds,) True where no probe, (rounds,) seconds each, is an outlier beyond 3 MAD; all True while too few."""
    logs = [np.log(np.asarray(probe, dtype=np.float64)) for probe in probes]
    keep = np.ones(len(logs[0]), dtype=bool)
    if len(keep) < MIN_ROUNDS:
        return keep
    for values in logs:
        wrong = outliers(values)
        if wrong.mean() <= MOST_OUTLIERS:
            keep &= ~wrong
    return keep


def paired_effect(base: ArrayLike, head: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Effect:
    """The median over rounds of log(head / base); both (rounds,) and positive, in the order of measuring."""
    logs = np.log(np.asarray(head, dtype=np.float64)) - np.log(np.asarray(base, dtype=np.float64))
    if len(logs) < MIN_ROUNDS:
        return Effect(estimate=float(np.median(logs)) if len(logs) else math.nan, error=math.inf, count=len(logs))
    return Effect(estimate=float(np.median(logs)), error=median_error(logs, draws=draws, seed=seed), count=len(logs))


def unpaired_effect(base: ArrayLike, head: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Effect:
    """The logarithm of median(head) / median(base), of separate runs: (rounds,) each, positive."""
    logs = [np.log(np.asarray(values, dtype=np.float64)) for values in (base, head)]
    count = min(map(len, logs))
    if count == 0:
        return Effect(estimate=math.nan, error=math.inf, count=0)
    estimate = float(np.median(logs[1]) - np.median(logs[0]))
    if count < MIN_ROUNDS:
        return Effect(estimate=estimate, error=math.inf, count=count)
    errors = [median_error(values, draws=draws, seed=seed + side) for side, values in enumerate(logs)]
    return Effect(estimate=estimate, error=math.hypot(*errors), count=count)


def median_error(values: Floats, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Standard error of the median of neighbours that resemble each other: the circular block bootstrap.

    Blocks of n^(1/3) values (Künsch 1989; Politis and Romano 1992), from any start, wrapping round the end.
    """
    count = len(values)
    length = max(1, round(count ** (1 / 3)))
    places = resamples(count, length=length, draws=draws, seed=seed)
    return float(np.median(values[places], axis=1).std())


def groups_error(values: Floats, groups: ArrayLike) -> float:
    """Standard error of a median from how much the medians of groups differ; 0 where fewer than three say anything.

    Args:
        values: (n,).
        groups: (n,) the group of each.
    """
    members = np.asarray(groups)
    medians = [np.median(values[members == group]) for group in np.unique(members)]
    return float(np.std(medians, ddof=1) / math.sqrt(len(medians))) if len(medians) >= 3 else 0.0


def judge(effect: Effect, p_corrected: float, *, margin: float, lower_is_better: bool = True) -> Verdict:
    """The verdict on one effect.

    Args:
        p_corrected: its p-value after all corrections.
        margin: on the effect's own scale, >= 0.
    """
    if math.isnan(effect.estimate):
        return "not resolved"
    if p_corrected < ALPHA and abs(effect.estimate) > margin:
        return "worse" if (effect.estimate > 0) == lower_is_better else "better"
    low, high = effect.interval
    return "same" if -margin <= low and high <= margin else "not resolved"


def detectable(error: float, *, margin: float, tests: int = 1) -> float:
    """The smallest true effect that is claimed with probability POWER when `tests` tests share alpha."""
    needed = -_NORMAL.inv_cdf(ALPHA / tests / 2) * error
    return max(needed, margin) + _NORMAL.inv_cdf(POWER) * error
