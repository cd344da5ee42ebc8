"""What the samples say: paired ratios, bootstrap intervals, ranks, outlier rounds. Pure functions of arrays.

The bootstrap is the percentile bootstrap (Efron 1979). Rounds are what is resampled, never single runs: runs of one
round share its moment on the machine. Neighbouring rounds share some of it too, so they are resampled in blocks, whose
length follows from how much they do (`blocks`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmbench.measure.blocks import autocorrelation, block_length, resamples, shortfall

DRAWS = 2000
LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its bootstrap interval; `count` is the number of rounds it stands on."""

    estimate: float
    low: float
    high: float
    count: int

    @property
    def relative_width(self) -> float:
        """(high - low) / estimate; infinite where nothing is known (fewer than two rounds)."""
        if self.count < 2 or not math.isfinite(self.estimate) or self.estimate == 0:
            return math.inf
        return (self.high - self.low) / abs(self.estimate)

    def scaled(self, factor: float) -> Interval:
        """The same interval in another unit."""
        return Interval(
            estimate=self.estimate * factor, low=self.low * factor, high=self.high * factor, count=self.count
        )


def interval(
    values: ArrayLike,
    statistic: Callable[..., Floats],
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """`statistic` of the rounds with its percentile bootstrap interval, widened by what blocks of rounds cut off.

    It ends where the values end.

    Args:
        values: (rounds,) or (rounds, repeats), in the order of measuring; rounds are resampled whole, in blocks.
        statistic: called as `statistic(samples, axis=-1)`, like `numpy.median`.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim == 1:
        data = data[:, None]
    count = len(data)
    if count == 0:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, count=0)
    estimate = float(statistic(data.reshape(1, -1), axis=-1)[0])
    correlation = autocorrelation(np.median(data, axis=1))
    length = block_length(correlation, count)
    drawn = data[resamples(count, length=length, draws=draws, seed=seed)].reshape(draws, -1)
    tail = (1 - level) / 2
    ends = np.quantile(statistic(drawn, axis=-1), [tail, 1 - tail])
    ends = estimate + (ends - estimate) * shortfall(correlation, length, count)
    low, high = np.clip(ends, data.min(), data.max())
    return Interval(estimate=estimate, low=float(low), high=float(high), count=count)


def median_interval(values: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The median of (rounds,) or (rounds, repeats) values."""
    return interval(values, np.median, level=level, draws=draws, seed=seed)


def quantile_interval(
    values: ArrayLike, quantile: float, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """A quantile in [0, 1] of (rounds,) or (rounds, repeats) values."""

    def statistic(samples: Floats, axis: int) -> Floats:
        return np.asarray(np.quantile(samples, quantile, axis=axis))

    return interval(values, statistic, level=level, draws=draws, seed=seed)


def paired_ratio(
    numerator: ArrayLike, denominator: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The median over rounds of numerator / denominator, each pair from the same round; both (rounds,), positive.

    Taken on logarithms, so that the ratio of a to b is exactly the inverse of that of b to a.
    """
    a, b = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    logs = median_interval(np.log(a) - np.log(b), level=level, draws=draws, seed=seed)
    return Interval(
        estimate=math.exp(logs.estimate), low=math.exp(logs.low), high=math.exp(logs.high), count=logs.count
    )


def rank_probabilities(values: Mapping[str, ArrayLike], *, draws: int = DRAWS, seed: int = 0) -> dict[str, Floats]:
    """For each subject the probability of every rank (index 0 = the largest median), over resampled rounds.

    Blocks are as long as the subject needs whose values, relative to the round's mean, resemble their neighbours most.

    Args:
        values: subject -> (rounds,) values of the same rounds in the order of measuring, positive.

    Returns:
        subject -> (subjects,) probabilities that sum to 1.
    """
    names = list(values)
    table = np.stack([np.asarray(values[name], dtype=np.float64) for name in names])  # (subjects, rounds)
    count = table.shape[1]
    correlation = max(autocorrelation(row) for row in np.log(table) - np.log(table).mean(axis=0))
    drawn = resamples(count, length=block_length(correlation, count), draws=draws, seed=seed)
    medians = np.stack([np.median(row[drawn], axis=-1) for row in table])  # (subjects, draws)
    ranks = (-medians).argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return {name: np.bincount(ranks[i], minlength=len(names)) / draws for i, name in enumerate(names)}


def outliers(values: ArrayLike, *, threshold: float = 3.0) -> NDArray[np.bool_]:
    """True where a value lies more than `threshold` scaled median absolute deviations from the median; (n,) -> (n,).

    The deviation is scaled by 1.4826, so that it estimates a normal sample's standard deviation. Where more than half
    of the values are equal the deviation is 0 and nothing is an outlier.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return np.zeros(0, dtype=bool)
    distance = np.abs(data - np.median(data))
    deviation = 1.4826 * np.median(distance)
    if deviation == 0:
        return np.zeros(data.shape, dtype=bool)
    return np.asarray(distance > threshold * deviation)


def resolved(intervals: Iterable[Interval], target_width: float) -> bool:
    """True when every interval is narrower than `target_width` of its estimate."""
    return all(item.relative_width < target_width for item in intervals)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number (Holm 1979), in the order given; each claim below alpha may be made."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected
