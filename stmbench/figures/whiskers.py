"""Intervals as whiskers: drawn so that narrow ones can be seen, cut where one would blow up the axis, and in digits.

The rule of filling is one for all figures: a full mark is as sure as was asked for, a hollow one is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import median_low
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.transforms import Bbox

from stmbench.figures.annotations import mark_point
from stmbench.figures.plot_data import Point
from stmbench.figures.style import INK, MUTED
from stmbench.tables.rows import number

CASING: Final[list[AbstractPathEffect]] = [
    withStroke(linewidth=3.0, foreground="white")
]  # keeps a whisker apart from what it crosses
WIDEST: Final = 2.0  # as many times the lower median of whiskers beyond the values; what reaches farther is cut
HOLLOW: Final = "hollow: less sure than asked for"
CUT: Final = "arrow: the interval reaches farther"


class Span(NamedTuple):
    """A value with the ends of its interval, NaN where it has none, in the axis' unit."""

    value: float
    low: float = math.nan
    high: float = math.nan


def span(point: Point, factor: float = 1.0) -> Span:
    """The point's value and interval, over `factor`."""
    return Span(point.value / factor, point.low / factor, point.high / factor)


def reach(spans: Iterable[Span], *, log: bool = False) -> tuple[float, float]:
    """The least and the largest number that an axis should show: all values, and intervals that are not outliers.

    Whiskers may reach `WIDEST` times the lower median of their lengths beyond the values, or half the values' range
    where that is more: one huge interval would squeeze everything else. Of two values the shorter whisker is the
    measure. On a log axis lengths are of logarithms.
    """
    to, back = (math.log, math.exp) if log else (float, float)
    values, lows, highs = [], [], []
    for value, low, high in spans:
        if log and value <= 0:
            continue
        values.append(to(value))
        lows.append(values[-1] if math.isnan(low) else to(max(low, 1e-3 * value) if log else low))
        highs.append(values[-1] if math.isnan(high) else to(high))
    lengths = [max(value - low, high - value) for value, low, high in zip(values, lows, highs, strict=True)]
    lengths = [length for length in lengths if length > 0]
    least, most = min(values), max(values)
    room = max(WIDEST * median_low(lengths) if lengths else 0.0, 0.5 * (most - least))
    return back(max(min(lows + values), least - room)), back(min(max(highs + values), most + room))


def whisker(
    axes: Axes,
    point: Point,
    metric: str,
    at: tuple[float, float],
    *,
    factor: float = 1.0,
    across: bool = False,
    cap: float = 3.0,
) -> ErrorbarContainer | None:
    """The point's interval at (x, y), upright or `across`; the caps stand out from a bar or a mark."""
    if point.errors is None:
        return None
    ends = [[length / factor] for length in point.errors]
    errors: dict[str, Any] = {"xerr" if across else "yerr": ends}
    drawn = axes.errorbar(*at, **errors, linestyle="", color=INK, elinewidth=1.1, capsize=cap, capthick=1.1, zorder=5)
    for stem in drawn.lines[2]:
        stem.set_path_effects(CASING)
    mark_point(drawn, point, metric)
    return drawn


def cut_whiskers(axes: Axes, words: Callable[[float], str] | None = None) -> bool:
    """An arrow at the axes' edge for each whisker that reaches beyond its limits; whether there is one.

    Args:
        words: of the end that is not seen, which then stands at the arrow of a level whisker.
    """
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    found = False
    for (xa, ya), (xb, yb) in segments(axes):
        for x, y, sign in ((max(xa, xb), max(ya, yb), 1), (min(xa, xb), min(ya, yb), -1)):
            outside = x > x1 * (1 + 1e-9) or y > max(y0, y1) if sign > 0 else x < x0 or y < min(y0, y1)
            if not outside:
                continue
            is_level = ya == yb
            marker = (">" if sign > 0 else "<") if is_level else ("^" if sign > 0 else "v")
            axes.plot(min(max(x, x0), x1), min(max(y, min(y0, y1)), max(y0, y1)), marker=marker, color=INK,
                      markersize=4.5, linestyle="", clip_on=False, zorder=5)  # fmt: skip
            if is_level and words is not None:
                axes.annotate(words(x), (x1 if sign > 0 else x0, y), (0, 5), textcoords="offset points", fontsize=6.5,
                              ha="right" if sign > 0 else "left", color=MUTED, annotation_clip=False)  # fmt: skip
            found = True
    return found


def segments(axes: Axes) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Both ends of each whisker drawn in the axes, in data units."""
    bars = [bar for found in axes.containers if isinstance(found, ErrorbarContainer) for bar in found.lines[2]]
    lines = [line for bar in bars if isinstance(bar, LineCollection) for line in bar.get_segments() if len(line)]
    return [
        ((float(a[0]), float(a[1])), (float(b[0]), float(b[1]))) for a, b in ((line[0], line[-1]) for line in lines)
    ]


def boxes(axes: Axes, *, cap: float = 3.0) -> list[Bbox]:
    """Where whiskers are on the page, their caps included, in pixels; the layout must be fixed."""
    figure = axes.get_figure()
    assert figure is not None
    pad, found = cap * figure.dpi / 72, []
    for ends in segments(axes):
        (xa, ya), (xb, yb) = axes.transData.transform(np.asarray(ends))
        sideways = abs(yb - ya) < abs(xb - xa)
        line = (0.7, pad) if sideways else (pad, 0.7)
        stem = Bbox([[min(xa, xb) - 1, min(ya, yb) - 1], [max(xa, xb) + 1, max(ya, yb) + 1]])
        caps = [Bbox([[x - line[0], y - line[1]], [x + line[0], y + line[1]]]) for x, y in ((xa, ya), (xb, yb))]
        found += [stem, *caps]
    return found


def digits(point: Point, metric: str, factor: float = 1.0) -> tuple[str, str]:
    """The value, and its interval ('' where there is none), rounded to two significant digits of the interval's width.

    More digits would be noise, and fewer would make values alike that are not: the value itself keeps two at least.
    """
    value, low, high = span(point, factor)
    if not high - low > 0:
        return number(point.value, metric), ""
    places = 1 - min(math.floor(math.log10(high - low)), math.floor(math.log10(abs(value))) if value else 0)
    said = [f"{round(end, places):,.{max(places, 0)}f}" for end in (value, low, high)]
    return said[0], f"{said[1]} to {said[2]}"


def note(axes: Axes, lines: Sequence[str], *, beyond: float = 0) -> None:
    """What marks mean, right above the axes: the last line is level with the conditions, others are above it.

    Args:
        beyond: points by which the lines end right of the axes.
    """
    for place, line in enumerate(reversed([line for line in lines if line])):
        axes.annotate(line, (1, 1), (beyond, 9 + 13 * place), "axes fraction", textcoords="offset points", ha="right",
                      va="center", color=MUTED, fontsize=8)  # fmt: skip


def is_full(*points: Point | None) -> bool:
    """Whether a mark is filled: every point that it stands for is as sure as was asked for."""
    return all(point is None or point.resolved for point in points)


def filling(chosen: Iterable[Point]) -> str:
    """What hollow marks mean, in words; '' where all are full."""
    rest = [point for point in chosen if not point.resolved]
    few = next((point.rounds for point in rest if point.rounds is not None), None)
    return f"hollow: {few}, too few for an interval" if few else HOLLOW if rest else ""
