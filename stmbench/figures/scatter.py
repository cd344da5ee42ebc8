"""What the two log-log scatters share: the points with whiskers, the lines' labels."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from stmbench.figures.annotations import mark_point
from stmbench.figures.plot_data import Point
from stmbench.figures.style import INK, MUTED


def draw_points(axes: Axes, drawn: list[tuple[Point, float, float, float]], metric: str) -> None:
    """Markers at (x, y) with the interval of the point's metric as whiskers; the last number converts to the axis."""
    for point, x, y, factor in drawn:
        colour, marker = point.style
        if point.errors is not None:
            whiskers = [[length / factor] for length in point.errors]
            bars = axes.errorbar(x, y, yerr=whiskers, color=INK, elinewidth=1.0, capsize=3, zorder=5)
            mark_point(bars, point, metric)
        inside = colour if point.resolved else "white"
        dot = axes.plot(
            x, y, linestyle="", marker=marker, markersize=8, color=inside, markeredgecolor=colour if not point.resolved
            else "white", markeredgewidth=1.4 if not point.resolved else 0.7, zorder=4,
        )  # fmt: skip
        mark_point(dot, point, metric)


def extent(drawn: list[tuple[Point, float, float, float]]) -> list[float]:
    """The y values and their interval's ends, as far as a log axis should reach: a decade from the value at most."""
    ends = []
    for point, _, y, factor in drawn:
        ends.append(y)
        if point.errors is not None:
            ends += [max(point.low / factor, y / 10), min(point.high / factor, y * 10)]
    return ends


def limits(values: list[float], *, room: float = 1.5) -> tuple[float, float]:
    """A log axis' ends: `room` times beyond the extremes, and at least a factor of three in all."""
    low, high = min(values) / room, max(values) * room
    missing = 3 / (high / low)
    return (low, high) if missing <= 1 else (low / math.sqrt(missing), high * math.sqrt(missing))


def along(axes: Axes, text: str, x: float, y: float, slope: float, *, ends: bool = False) -> None:
    """Write `text` just above a line of the given slope (in log-log units), from (x, y) on, or up to it with `ends`."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    rise = slope * math.log(x1 / x0) / math.log(y1 / y0)  # in axes units
    box = axes.get_window_extent()
    angle = math.degrees(math.atan2(rise * box.height, box.width))
    axes.text(
        x, y, text, rotation=angle, rotation_mode="anchor", ha="right" if ends else "left", va="bottom", fontsize=7.5,
        color=MUTED, zorder=1, clip_on=True,
    )  # fmt: skip
