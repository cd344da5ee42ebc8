"""Change points of a series of measurements: a piecewise-constant fit with a penalty for every change point.

The fit minimises  sum over segments of (squared distance from the segment's mean) + penalty * (number of change
points), the Potts functional of Friedrich, Kempe, Liebscher and Winkler (2008, "Complexity penalized M-estimation: fast
computation"), exactly, by dynamic programming over the last change point; candidates that can no longer win are pruned
(Killick, Fearnhead and Eckley 2012, "Optimal detection of changepoints with a linear computational cost", PELT).

Squares are not robust, and timings have outliers: each value is first clipped to a few noise units around the median of
its five neighbours. That keeps change points sharp and removes disturbances of one or two records.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHORTEST: Final = 3  # records in a segment: fewer cannot be distinguished from a burst of load
# per change point, in noise variances times log(n); tests/history/test_change_points.py measures the false positives
PENALTY: Final = 5.0
CLIP: Final = 2.0  # noise units around the running median to which values are clipped
LAGS: Final = (1, 2, 3)  # of the differences from which the noise is estimated
SURE: Final = 7.0  # a boundary whose fit is worse by less than this many noise variances may be the true one
BOUND: Final = 4.0  # noise units from a level beyond which the misfit no longer grows
MAD_TO_SD: Final = 1.4826  # of a normal distribution


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """A change of level. Positions are indices into the given values, missing ones included."""

    position: int  # of the first value after it
    earliest: int  # the range in which it may lie, given the noise
    latest: int
    before: float  # medians of the two segments
    after: float
    gradual: bool = False  # a straight line fits both segments better: a drift


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """Levels of a series. `starts` are the first positions of the segments."""

    starts: tuple[int, ...]
    levels: tuple[float, ...]  # medians of the segments
    noise: float  # standard deviation of one value, from differences
    change_points: tuple[ChangePoint, ...]


def detect(values: npt.ArrayLike, *, smallest: float = 0.0, penalty: float = PENALTY) -> Fit:
    """The change points of a noisy series.

    Args:
        values: (n,) in the order of time, NaN if missing. Pass logarithms if the noise is relative.
        smallest: the smallest change of level to report, in the values' unit.
        penalty: per change point, in noise variances times log(n). A higher one means fewer false positives and later
            detection.

    Returns:
        The fit. No segment is shorter than three values, so a change point needs three values after it.
    """
    series = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(series))
    known = series[places]
    if known.size == 0:
        return Fit(starts=(), levels=(), noise=math.nan, change_points=())
    noise = noise_of(known)
    clipped = _clipped(known, noise)
    ends = _segment(clipped, penalty * noise**2 * math.log(max(known.size, 2)))
    ends = _without_small_changes(known, ends, smallest)
    return _fit(known, clipped, places, ends, noise)


def detect_exact(values: npt.ArrayLike) -> Fit:
    """The change points of a series without noise (parameters, MACs): every change of value, however short."""
    series = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(series))
    known = series[places]
    if known.size == 0:
        return Fit(starts=(), levels=(), noise=0.0, change_points=())
    starts = [0, *(np.flatnonzero(np.diff(known)) + 1).tolist()]
    at = [int(places[start]) for start in starts]
    levels = [float(known[start]) for start in starts]
    pairs = zip(at[1:], levels, levels[1:], strict=False)
    change_points = [ChangePoint(position=p, earliest=p, latest=p, before=a, after=b) for p, a, b in pairs]
    return Fit(starts=tuple(at), levels=tuple(levels), noise=0.0, change_points=tuple(change_points))


def noise_of(known: Floats) -> float:
    """Standard deviation of one value, from the median absolute difference of neighbours, which ignores a few changes.

    The largest over three lags, so that wandering noise is not underestimated; inflated for short series.
    """
    spreads = [
        MAD_TO_SD * float(np.median(np.abs(known[lag:] - known[:-lag]))) / math.sqrt(2)
        for lag in LAGS
        if known.size > lag
    ]
    floor = 1e-9 * float(np.max(np.abs(known)))  # rounding
    return max(floor, max(spreads, default=0.0) * (1 + 4 / known.size))


def _clipped(known: Floats, noise: float) -> Floats:
    """(n,) values clipped to CLIP noise units around the median of five; at the ends, of the first or last five."""
    if known.size < 5:
        return known
    medians = np.median(np.lib.stride_tricks.sliding_window_view(known, 5), axis=1)
    medians = np.concatenate([np.repeat(medians[:1], 2), medians, np.repeat(medians[-1:], 2)])
    return np.clip(known, medians - CLIP * noise, medians + CLIP * noise)


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
    dies = np.full(n + 1, n + 1, dtype=np.int64)  # the end from which a start can no longer win
    starts = np.empty(0, dtype=np.int64)
    for end in range(SHORTEST, n + 1):
        starts = starts[dies[starts] > end]
        if np.isfinite(best[end - SHORTEST]):
            starts = np.append(starts, end - SHORTEST)
        total = sums[end] - sums[starts]
        costs = best[starts] + (squares[end] - squares[starts]) - total**2 / (end - starts)
        choice = int(np.argmin(costs))
        best[end], last[end] = costs[choice] + penalty, starts[choice]
        # starting a segment at `end` is better from the shortest length on
        losing = starts[costs > best[end]]
        dies[losing] = np.minimum(dies[losing], end + SHORTEST)
    ends = [n]
    while last[ends[-1]] > 0:
        ends.append(int(last[ends[-1]]))
    return ends[::-1]


def _without_small_changes(known: Floats, ends: list[int], smallest: float) -> list[int]:
    """Merge segments whose levels differ by less than `smallest`, the smallest difference first."""
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


def _fit(known: Floats, clipped: Floats, places: npt.NDArray[np.intp], ends: list[int], noise: float) -> Fit:
    change_points, ends = [], list(ends)
    for number, split in enumerate(ends[:-1]):
        left, right = ([0, *ends])[number], ends[number + 1]
        best, earliest, latest = (left + at for at in _placed(known[left:right], split - left, noise))
        ends[number] = best
        before, after = (float(np.median(side)) for side in (known[left:best], known[best:right]))
        change_points.append(
            ChangePoint(
                position=int(places[best]),
                earliest=int(places[earliest]),
                latest=int(places[latest]),
                before=before,
                after=after,
                gradual=_slopes(clipped[left:right], best - left),
            )
        )
    starts = [0, *ends[:-1]]
    levels = tuple(float(np.median(known[start:end])) for start, end in zip(starts, ends, strict=True))
    return Fit(
        starts=tuple(int(places[start]) for start in starts),
        levels=levels,
        noise=noise,
        change_points=tuple(change_points),
    )


def _placed(values: Floats, split: int, noise: float) -> tuple[int, int, int]:
    """The best split between two levels, and the first and last split that fit about as well.

    By bounded squares (after Hampel), so that a burst next to the change point does not count.
    """
    before, after = np.median(values[:split]), np.median(values[split:])
    near_before, near_after = (np.minimum(((values - level) / noise) ** 2, BOUND**2) for level in (before, after))
    # costs[k]: the first k + 1 values lie before the change point, the others after it
    costs = np.cumsum(near_before - near_after)[:-1]
    good = np.flatnonzero(costs <= costs.min() + SURE) + 1
    best = split if costs[split - 1] <= costs.min() else int(np.argmin(costs)) + 1
    return best, int(good[0]), int(good[-1])


def _slopes(values: Floats, split: int) -> bool:
    """Whether a straight line through both segments fits better than two levels."""
    stepped = sum(float(np.sum((side - side.mean()) ** 2)) for side in (values[:split], values[split:]))
    time = np.arange(values.size) - (values.size - 1) / 2
    centred = values - values.mean()
    sloped = float(centred @ centred) - float(time @ centred) ** 2 / float(time @ time)
    return sloped < stepped
