"""Where a series of measurements changes its level for good: a piecewise-constant fit with a price for every step.

The fit minimises  sum over segments of (squared distance from the segment's mean) + penalty * (number of steps), the
Potts functional of Friedrich, Kempe, Liebscher and Winkler (2008, "Complexity penalized M-estimation: fast
computation"), exactly, by dynamic programming over the last step; candidates that can never win again are dropped
(Killick, Fearnhead and Eckley 2012, "Optimal detection of changepoints with a linear computational cost", PELT).

Squares are not robust, timings have outliers: each value is first held within a few noise units of the median of five
around it. That keeps steps sharp, and takes out what lasts one record or two.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHORTEST: Final = 3  # records of a segment: fewer cannot be told from a burst of the machine
PRICE: Final = 5.0  # of a step, in noise variances times log(n): see tests/history/test_steps.py for the false alarms
HELD: Final = 2.0  # noise units around the running median that a value may lie
LAGS: Final = (1, 2, 3)  # of the differences that tell the noise
SURE: Final = 7.0  # a boundary that fits worse by less than this many noise variances may be the true one
BOUND: Final = 4.0  # noise units from a level beyond which a value is no worse a fit to it
MAD_TO_SD: Final = 1.4826  # of a normal distribution


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One change of level. Positions count the values given, missing ones included."""

    position: int  # of the first value after it
    earliest: int  # where else the first value after it may be, given the noise
    latest: int
    before: float  # medians of the two segments
    after: float
    gradual: bool = False  # a slope through both segments fits better than the step: a drift


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """Levels of a series. `starts` are the positions at which segments begin, the first value's included."""

    starts: tuple[int, ...]
    levels: tuple[float, ...]  # a segment's median
    noise: float  # standard deviation of one value, as the differences tell it
    steps: tuple[Step, ...]


def detect(values: npt.ArrayLike, *, smallest: float = 0.0, price: float = PRICE) -> Fit:
    """The steps of a noisy series.

    Args:
        values: (n,) in the order of time; NaN where there is none. Logarithms, where the noise is relative.
        smallest: change of level below which a step is not worth a word, in the values' unit.
        price: of one step, in noise variances times log(n). Dearer means fewer false alarms and later detection.

    Returns:
        The fit; no segment is shorter than three values, so a step is seen when three values lie behind it.
    """
    series = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(series))
    known = series[places]
    if known.size == 0:
        return Fit(starts=(), levels=(), noise=math.nan, steps=())
    noise = noise_of(known)
    held = _held(known, noise)
    ends = _segment(held, price * noise**2 * math.log(max(known.size, 2)))
    ends = _worth_a_word(known, ends, smallest)
    return _fit(known, held, places, ends, noise)


def changes(values: npt.ArrayLike) -> Fit:
    """The steps of a series without noise (parameters, MACs): every change of value is one, however short it lives."""
    series = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(series))
    known = series[places]
    if known.size == 0:
        return Fit(starts=(), levels=(), noise=0.0, steps=())
    starts = [0, *(np.flatnonzero(np.diff(known)) + 1).tolist()]
    at = [int(places[start]) for start in starts]
    levels = [float(known[start]) for start in starts]
    pairs = zip(at[1:], levels, levels[1:], strict=False)
    steps = [Step(position=p, earliest=p, latest=p, before=a, after=b) for p, a, b in pairs]
    return Fit(starts=tuple(at), levels=tuple(levels), noise=0.0, steps=tuple(steps))


def noise_of(known: Floats) -> float:
    """Standard deviation of one value: the median absolute difference of near values, which a few steps do not move.

    The largest over three lags, so that noise which wanders is not taken for less than it is; few values say little
    about their noise, so theirs is taken for larger.
    """
    spreads = [
        MAD_TO_SD * float(np.median(np.abs(known[lag:] - known[:-lag]))) / math.sqrt(2)
        for lag in LAGS
        if known.size > lag
    ]
    floor = 1e-9 * float(np.max(np.abs(known)))  # rounding
    return max(floor, max(spreads, default=0.0) * (1 + 4 / known.size))


def _held(known: Floats, noise: float) -> Floats:
    """(n,) values within HELD noise units of the median of five; at the ends, of the first or last five."""
    if known.size < 5:
        return known
    medians = np.median(np.lib.stride_tricks.sliding_window_view(known, 5), axis=1)
    medians = np.concatenate([np.repeat(medians[:1], 2), medians, np.repeat(medians[-1:], 2)])
    return np.clip(known, medians - HELD * noise, medians + HELD * noise)


def _segment(values: Floats, penalty: float) -> list[int]:
    """Ends (exclusive) of the segments of the best fit, in order; the last is n."""
    n = values.size
    if n < 2 * SHORTEST:
        return [n]
    centred = values - values.mean()  # sums of squares lose digits far from zero
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    squares = np.concatenate([[0.0], np.cumsum(centred**2)])
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    last = np.zeros(n + 1, dtype=np.int64)
    dies = np.full(n + 1, n + 1, dtype=np.int64)  # the end from which on a start cannot win any more
    starts = np.empty(0, dtype=np.int64)
    for end in range(SHORTEST, n + 1):
        starts = starts[dies[starts] > end]
        if np.isfinite(best[end - SHORTEST]):
            starts = np.append(starts, end - SHORTEST)
        total = sums[end] - sums[starts]
        costs = best[starts] + (squares[end] - squares[starts]) - total**2 / (end - starts)
        choice = int(np.argmin(costs))
        best[end], last[end] = costs[choice] + penalty, starts[choice]
        # a segment that starts here is better than one that starts there: from the shortest length on
        losing = starts[costs > best[end]]
        dies[losing] = np.minimum(dies[losing], end + SHORTEST)
    ends = [n]
    while last[ends[-1]] > 0:
        ends.append(int(last[ends[-1]]))
    return ends[::-1]


def _worth_a_word(known: Floats, ends: list[int], smallest: float) -> list[int]:
    """The ends without those at which the level changes by less than `smallest`, the smallest change first."""
    ends = list(ends)
    while len(ends) > 1:
        starts = [0, *ends[:-1]]
        levels = [float(np.median(known[start:end])) for start, end in zip(starts, ends, strict=True)]
        sizes = np.abs(np.diff(levels))
        least = int(np.argmin(sizes))
        if sizes[least] >= smallest and sizes[least] > 0:
            break
        del ends[least]
    return ends


def _fit(known: Floats, held: Floats, places: npt.NDArray[np.intp], ends: list[int], noise: float) -> Fit:
    steps, ends = [], list(ends)
    for number, split in enumerate(ends[:-1]):
        left, right = ([0, *ends])[number], ends[number + 1]
        best, earliest, latest = (left + at for at in _placed(known[left:right], split - left, noise))
        ends[number] = best
        before, after = (float(np.median(side)) for side in (known[left:best], known[best:right]))
        steps.append(
            Step(
                position=int(places[best]),
                earliest=int(places[earliest]),
                latest=int(places[latest]),
                before=before,
                after=after,
                gradual=_slopes(held[left:right], best - left),
            )
        )
    starts = [0, *ends[:-1]]
    levels = tuple(float(np.median(known[start:end])) for start, end in zip(starts, ends, strict=True))
    return Fit(starts=tuple(int(places[start]) for start in starts), levels=levels, noise=noise, steps=tuple(steps))


def _placed(values: Floats, split: int, noise: float) -> tuple[int, int, int]:
    """The best split of two segments between their levels, and the first and last that fit about as well.

    By squares that are bounded (Hampel's idea): a burst beside the step belongs to neither side, and tells nothing.
    """
    before, after = np.median(values[:split]), np.median(values[split:])
    near_before, near_after = (np.minimum(((values - level) / noise) ** 2, BOUND**2) for level in (before, after))
    # costs[k]: the first k + 1 values are before the step, the others after it
    costs = np.cumsum(near_before - near_after)[:-1]
    good = np.flatnonzero(costs <= costs.min() + SURE) + 1
    best = split if costs[split - 1] <= costs.min() else int(np.argmin(costs)) + 1
    return best, int(good[0]), int(good[-1])


def _slopes(values: Floats, split: int) -> bool:
    """Whether a straight line through both segments leaves less than the step does."""
    stepped = sum(float(np.sum((side - side.mean()) ** 2)) for side in (values[:split], values[split:]))
    time = np.arange(values.size) - (values.size - 1) / 2
    centred = values - values.mean()
    sloped = float(centred @ centred) - float(time @ centred) ** 2 / float(time @ time)
    return sloped < stepped
