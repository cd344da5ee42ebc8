"""The bootstrap: every confidence interval that is obtained by resampling comes from here.

Timings (rounds) and images are resampled in different ways. Load on a machine comes in bursts that last longer than
a round, so neighbouring rounds resemble each other; drawn one by one they would count as more evidence than they are.
Rounds are therefore resampled in blocks, whose length follows from the autocorrelation of neighbours. The runs within
one round share its moment on the machine and stay together. Images are independent and are resampled one by one, the
same images for every quantity, in steps that bound the memory.

All intervals are percentile intervals (Efron 1979), apart from the jackknife's at the end. The functions are pure:
arrays and a seed in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmbench.measure.statistics import LEVEL, Floats, Interval

DRAWS: Final = 2000
MEDIAN_ERROR_DRAWS: Final = 1000
MIN_ROUNDS_FOR_AUTOCORRELATION: Final = 10
MAX_AUTOCORRELATION: Final = 0.9  # beyond it the series drifts, and no resampling corrects for that
IMAGES_PER_STEP: Final = 4_000_000  # drawn images held in memory at once


# --- rounds: blocks of neighbours ---


def autocorrelation(values: ArrayLike) -> float:
    """Rank correlation of neighbouring values, (rounds,) -> 0 to 0.9; 0 for fewer than 10 rounds.

    The estimate r of n values is biased by about -(1 + 3 r) / n (Kendall 1954), which is added back. Ranks are used
    because a single wild round would otherwise decide the value.
    """
    data = np.asarray(values, dtype=np.float64)
    count = len(data)
    if count < MIN_ROUNDS_FOR_AUTOCORRELATION:
        return 0.0
    _, positions, times = np.unique(data, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[positions]  # ties share their mean rank
    ranks = ranks - ranks.mean()
    spread = float((ranks * ranks).sum())
    if spread == 0:
        return 0.0
    r = float((ranks[1:] * ranks[:-1]).sum()) / spread
    return min(max(r + (1 + 3 * r) / count, 0.0), MAX_AUTOCORRELATION)


def block_length(correlation: float, count: int) -> int:
    """Rounds per block: 6^(1/3) (r / (1 - r^2))^(2/3) n^(1/3), at least 1 and at most a quarter of the n rounds.

    The length that estimates a variance best with circular blocks if neighbours are correlated by r, their neighbours
    by r^2, and so on (Politis and White 2004).
    """
    best: float = (6 * count) ** (1 / 3) * (correlation / (1 - correlation**2)) ** (2 / 3)
    return max(1, min(math.ceil(best), count // 4))


def widening_factor(correlation: float, length: int, count: int) -> float:
    """The factor that corrects the width of an interval for the correlation that blocks of `length` cut off."""
    if correlation == 0:
        return 1.0
    lags = np.arange(1, length)
    kept = 1 + 2 * float(((1 - lags / length) * correlation**lags).sum())
    whole = (1 + correlation) / (1 - correlation)
    return math.sqrt(whole / kept * count / (count - length))


def block_resamples(rounds: int, *, length: int = 1, draws: int, seed: int) -> NDArray[np.intp]:
    """(draws, rounds) indices into the rounds: blocks that start anywhere and wrap around the end.

    The circular block bootstrap (Politis and Romano 1992); with a length of 1 the ordinary one (Efron 1979).
    """
    starts = np.random.default_rng(seed).integers(0, rounds, size=(draws, -(-rounds // length)))
    if length == 1:
        return starts
    indices: NDArray[np.intp] = (starts[:, :, None] + np.arange(length)).reshape(draws, -1)[:, :rounds] % rounds
    return indices


def round_interval(
    values: ArrayLike,
    statistic: Callable[..., Floats],
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """`statistic` of the rounds with its interval, corrected by `widening_factor` and clipped to the values' range.

    Args:
        values: (rounds,) or (rounds, repeats), in the order of measurement; whole rounds are resampled, in blocks.
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
    drawn = data[block_resamples(count, length=length, draws=draws, seed=seed)].reshape(draws, -1)
    tail = (1 - level) / 2
    ends = np.quantile(statistic(drawn, axis=-1), [tail, 1 - tail])
    ends = estimate + (ends - estimate) * widening_factor(correlation, length, count)
    low, high = np.clip(ends, data.min(), data.max())
    return Interval(estimate=estimate, low=float(low), high=float(high), count=count)


def median_interval(values: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The median of (rounds,) or (rounds, repeats) values."""
    return round_interval(values, np.median, level=level, draws=draws, seed=seed)


def quantile_interval(
    values: ArrayLike, quantile: float, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """A quantile in [0, 1] of (rounds,) or (rounds, repeats) values."""

    def statistic(samples: Floats, axis: int) -> Floats:
        return np.asarray(np.quantile(samples, quantile, axis=axis))

    return round_interval(values, statistic, level=level, draws=draws, seed=seed)


def paired_ratio(
    numerator: ArrayLike, denominator: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The median over rounds of numerator / denominator, each pair from the same round; both (rounds,), positive.

    Computed on logarithms, so that the ratio of a to b is exactly the inverse of that of b to a.
    """
    a, b = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    logs = median_interval(np.log(a) - np.log(b), level=level, draws=draws, seed=seed)
    return Interval(
        estimate=math.exp(logs.estimate), low=math.exp(logs.low), high=math.exp(logs.high), count=logs.count
    )


def median_standard_error(values: Floats, *, draws: int = MEDIAN_ERROR_DRAWS, seed: int = 0) -> float:
    """Standard error of the median of (rounds,) values, from blocks of n^(1/3) rounds (Künsch 1989)."""
    count = len(values)
    length = max(1, round(count ** (1 / 3)))
    indices = block_resamples(count, length=length, draws=draws, seed=seed)
    return float(np.median(values[indices], axis=1).std())


def rank_probabilities(values: Mapping[str, ArrayLike], *, draws: int = DRAWS, seed: int = 0) -> dict[str, Floats]:
    """The probability of every rank of each model (index 0: the largest median), over resampled rounds.

    The block length is the largest that any model needs, judged by its values relative to the mean of the round.

    Args:
        values: model -> (rounds,) positive values of the same rounds, in the order of measurement.

    Returns:
        model -> (models,) probabilities that sum to 1.
    """
    names = list(values)
    table = np.stack([np.asarray(values[name], dtype=np.float64) for name in names])  # (models, rounds)
    count = table.shape[1]
    correlation = max(autocorrelation(row) for row in np.log(table) - np.log(table).mean(axis=0))
    drawn = block_resamples(count, length=block_length(correlation, count), draws=draws, seed=seed)
    medians = np.stack([np.median(row[drawn], axis=-1) for row in table])  # (models, draws)
    ranks = (-medians).argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return {name: np.bincount(ranks[i], minlength=len(names)) / draws for i, name in enumerate(names)}


# --- images: independent, many quantities at once ---


def resampled_means(values: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(draws, quantities) means over images drawn with replacement; a draw has the same images for every quantity.

    Args:
        values: (images, quantities), at least one image.
    """
    table = np.asarray(values, dtype=np.float64)
    count = len(table)
    step = max(1, min(draws, IMAGES_PER_STEP // count))
    return np.concatenate(
        [times @ table / count for times in image_multiplicities(count, draws=draws, step=step, seed=seed)]
    )


def image_multiplicities(count: int, *, draws: int, step: int, seed: int) -> Iterator[Floats]:
    """How often each of `count` images is drawn in each resample, (at most `step`, images) at a time.

    The draws do not depend on `step`.
    """
    random = np.random.default_rng(seed)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = random.integers(0, count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def mean_intervals(values: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> list[Interval]:
    """The mean over images of each quantity, (images, quantities), with its interval.

    For hits, or values between 0 and 1, use `proportions` instead: near either end too few resamples differ. With one
    image the interval's ends are NaN; if all images agree the interval has no width.
    """
    table = np.asarray(values, dtype=np.float64)
    if not len(table):
        return []
    means = resampled_means(table, draws=draws, seed=seed) if len(table) > 1 else np.empty((0, table.shape[1]))
    return [
        percentile_interval(float(estimate), column, len(table), level=level)
        for estimate, column in zip(table.mean(0), means.T, strict=True)
    ]


def group_weights(counts: NDArray[np.int64], *, draws: int, step: int, seed: int) -> Iterator[Floats]:
    """Weights of whole groups of images in each resample, (at most `step`, groups) at a time.

    Multiplied by the groups' sums they give the mean over the resampled images.

    Args:
        counts: (groups,) images in each group, at least one.
        draws: resamples in total; `step`: resamples made at a time.
    """
    random, groups = np.random.default_rng(seed), len(counts)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = random.multinomial(groups, np.full(groups, 1 / groups), size=rows).astype(np.float64)
        yield drawn / (drawn @ counts)[:, None]


def percentile_interval(
    estimate: float, drawn: Floats, count: int, *, level: float = LEVEL, omit_nan: bool = False
) -> Interval:
    """The interval between the percentiles of (draws,) resampled values; its ends are NaN if there are none."""
    if not len(drawn):
        return Interval(estimate=estimate, low=math.nan, high=math.nan, count=count)
    tail = (1 - level) / 2
    low, high = (np.nanquantile if omit_nan else np.quantile)(drawn, [tail, 1 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high), count=count)


# --- images left out: statistics of pairs and of spectra, which an image that is drawn twice would distort ---


def jackknife_interval(estimate: float, left_out: ArrayLike, count: int, *, level: float = LEVEL) -> Interval:
    """The normal interval around an estimate, with Tukey's (1958) jackknife standard error.

    Args:
        left_out: (groups,) the statistic without each group of images in turn; all images are in one of the groups.
        count: images.
    """
    values = np.asarray(left_out, dtype=np.float64)
    if len(values) < 2:
        return Interval(estimate=estimate, low=math.nan, high=math.nan, count=count)
    error = math.sqrt((len(values) - 1) * float(values.var()))
    width = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(estimate=estimate, low=estimate - width, high=estimate + width, count=count)
