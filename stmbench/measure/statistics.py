"""What all statistics share: the interval, its level, and Holm's correction for several tests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
