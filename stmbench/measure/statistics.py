"""What all statistics share: the interval, its level, Holm's correction for several tests, and the outlier rule.

Rounds are dropped if the machine was disturbed while they ran. The fixed probe workload decides, never the models:
dropping rounds in which a model was slow would bias its figure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL: Final = 0.95
MIN_ROUNDS: Final = 20  # of a comparison; with fewer there is neither a standard error nor an outlier

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval; `count` is the number of rounds or images that it is based on."""

    estimate: float
    low: float
    high: float
    count: int

    @property
    def relative_width(self) -> float:
        """(high - low) / estimate; infinite if unknown (fewer than two rounds)."""
        if self.count < 2 or not math.isfinite(self.estimate) or self.estimate == 0:
            return math.inf
        return (self.high - self.low) / abs(self.estimate)

    def scaled(self, factor: float) -> Interval:
        """The same interval in another unit."""
        return Interval(
            estimate=self.estimate * factor, low=self.low * factor, high=self.high * factor, count=self.count
        )


def all_resolved(intervals: Iterable[Interval], target_width: float) -> bool:
    """True if every interval is narrower than `target_width` times its estimate."""
    return all(item.relative_width < target_width for item in intervals)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number (Holm 1979), in the given order; a claim holds if its value < alpha."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = highest
    return corrected


MAX_OUTLIER_FRACTION: Final = 0.25  # of the rounds; more of them mean that the machine ran at two speeds: keep them


def outliers(values: ArrayLike, *, threshold: float = 3.0) -> NDArray[np.bool_]:
    """True for values more than `threshold` scaled median absolute deviations from the median; (n,) -> (n,).

    The deviation is scaled by 1.4826, so that it estimates the standard deviation of a normal sample. If more than
    half of the values are equal the deviation is 0 and nothing is an outlier.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return np.zeros(0, dtype=bool)
    distance = np.abs(data - np.median(data))
    deviation = 1.4826 * np.median(distance)
    if deviation == 0:
        return np.zeros(data.shape, dtype=bool)
    return np.asarray(distance > threshold * deviation)


def kept_rounds(*probes: ArrayLike, min_rounds: int = MIN_ROUNDS) -> NDArray[np.bool_]:
    """True for rounds in which no probe is an outlier; (rounds,) -> (rounds,).

    Args:
        probes: (rounds,) positive seconds or rates each, compared on logarithms. A probe with more than a quarter of
            outliers drops nothing.
        min_rounds: with fewer rounds all are kept.
    """
    logs = [np.log(np.asarray(probe, dtype=np.float64)) for probe in probes]
    keep = np.ones(len(logs[0]), dtype=bool)
    if len(keep) < min_rounds:
        return keep
    for values in logs:
        is_outlier = outliers(values)
        if is_outlier.mean() <= MAX_OUTLIER_FRACTION:
            keep &= ~is_outlier
    return keep
