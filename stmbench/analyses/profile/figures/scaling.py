"""Throughput against the input's size: how fast it falls, as the exponent of a power of the number of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import FixedLocator, NullLocator

from stmbench.errors import TableError
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.scatter import extent, limits
from stmbench.figures.style import GRID, INK, canvas, heading, log_axis, shorten
from stmbench.figures.svg_annotations import mark, mark_legend, mark_point
from stmbench.tables.labels import square_side

STYLES: Final[Any] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))  # one for each precision or device


def scaling(frame: pd.DataFrame) -> Figure:
    """Log-log: a line for each model through its sizes, its exponent b of images/s ~ (side^2)^-b in the legend.

    b is 1 where the time is proportional to the pixels, and 2 where every token meets every other. Raises TableError
    where no model was timed at two sizes.
    """
    found = by_size(frame)
    if not found:
        raise TableError("throughput of one model at two sizes", "fewer", "profile with --resolution 224,320")
    every = [point for line in found.values() for point in line]
    drawn = [(point, _side(point), point.value, 1.0) for point in every]
    sides = sorted({side for _, side, _, _ in drawn})
    with canvas(4.2, width=8.4) as (figure, (axes,)):
        log_axis(axes, "x", *limits([side for _, side, _, _ in drawn], room=1.15))
        log_axis(axes, "y", *limits(extent(drawn)))
        axes.xaxis.set_major_locator(FixedLocator(sides))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("input (px)")
        axes.set_ylabel("throughput (images/s)")
        axes.grid(color=GRID)
        heading(axes, "Throughput by input size", subtitle(every, without=("resolution",)))
        settings = list(dict.fromkeys(setting for _, setting in found))
        styles = {setting: STYLES[place % len(STYLES)] for place, setting in enumerate(settings)}
        handles = [
            _line(axes, f"{name} · {setting}" if setting else name, line, styles[setting])
            for (name, setting), line in found.items()
        ]
        legend = figure.legend(handles=handles, loc="outside right upper", title="exponent b", alignment="left")
        mark_legend(legend, [line[0].key for line in found.values()])
    return figure


def by_size(frame: pd.DataFrame) -> dict[tuple[str, str], list[Point]]:
    """(name, setting) -> points from the smallest size to the largest, for what was timed at two sizes at least.

    Of one model, series of other precisions, devices or protocols are apart; batch sizes may follow the input's size.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points(frame, "throughput"):
        if not math.isnan(_side(point)) and point.facts["stage"] is None and point.value > 0:
            rest = [part for part in point.setting.split(" · ") if not part.endswith(" px") and part[:6] != "batch "]
            found.setdefault((point.name, " · ".join(rest)), []).append(point)
    kept = {}
    for series, line in found.items():
        best: dict[float, Point] = {}
        for point in line:  # of several batch sizes at one size the fastest
            if (known := best.get(_side(point))) is None or point.value > known.value:
                best[_side(point)] = point
        if len(best) > 1:
            kept[series] = [best[side] for side in sorted(best)]
    return kept


def exponent(sides: Sequence[float], rates: Sequence[float]) -> float:
    """b of rates ~ (side^2)^-b by least squares on logarithms; two sizes or more."""
    slope, _ = np.polyfit(2 * np.log(np.asarray(sides)), np.log(np.asarray(rates)), 1)
    return -float(slope)


def _line(axes: Axes, name: str, line: list[Point], style: Any) -> Line2D:
    x, y = [_side(point) for point in line], [point.value for point in line]
    colour, marker = line[0].look
    mark(axes.plot(x, y, color=colour, linewidth=1.3, linestyle=style, zorder=2), line[0].key)
    for point, side in zip(line, x, strict=True):
        if point.errors is not None:
            ends = [[length] for length in point.errors]
            bars = axes.errorbar(side, point.value, yerr=ends, color=INK, elinewidth=0.9, capsize=2.5, zorder=3)
            mark_point(bars, point, "throughput")
        inside = colour if point.resolved else "white"
        dot = axes.plot(side, point.value, marker=MarkerStyle(marker), color=inside, markeredgecolor=colour,
                        markersize=6.5, linestyle="", zorder=4)  # fmt: skip
        mark_point(dot, point, "throughput")
    label = f"{exponent(x, y):.2f}  {shorten(name)}"
    return Line2D([], [], color=colour, linestyle=style, marker=MarkerStyle(marker), markersize=6, label=label)


def _side(point: Point) -> float:
    """The side of a square input, NaN for any other: sizes are told by one number."""
    side = None if point.facts["resolution"] is None else square_side(str(point.facts["resolution"]))
    return math.nan if side is None else float(side)
