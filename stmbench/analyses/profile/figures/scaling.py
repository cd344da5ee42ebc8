"""Throughput against the input's size: how fast it falls, as the exponent of a power of the number of pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_legend, mark_point
from stmbench.figures.palette import STROKES, Stroke, text_on
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import GRID, MUTED, canvas, heading, letters, limits, log_axis, shorten
from stmbench.figures.whiskers import CUT, cut_whiskers, filling, note, reach, span, whisker
from stmbench.tables.labels import square_side


def scaling(frame: pd.DataFrame) -> Figure:
    """Log-log: a line for each model through its sizes, its exponent b of images/s ~ (side^2)^-b in the legend.

    b is 1 where the time is proportional to the pixels, and 2 where every token meets every other. Raises TableError
    where no model was timed at two sizes.
    """
    sizes = by_size(frame)
    if not sizes:
        raise TableError("throughput of one model at two sizes", "fewer", "profile with --resolution 224,320")
    every = [point for line in sizes.values() for point in line]
    sides = sorted({_side(point) for point in every})
    with canvas(4.2, width=8.4) as (figure, (axes,)):
        log_axis(axes, "x", *limits(sides, room=1.15))
        log_axis(axes, "y", *limits([*reach([span(point) for point in every], log=True)], room=1.2))
        axes.xaxis.set_major_locator(FixedLocator(sides))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("input (px)")
        axes.set_ylabel("throughput (images/s)")
        axes.grid(color=GRID)
        heading(axes, "Throughput by input size", subtitle(every, without=("resolution",)))
        settings = list(dict.fromkeys(setting for _, setting in sizes))  # one for each precision or device
        handles = [
            _line(
                axes,
                f"{name} · {setting}" if setting else name,
                line,
                STROKES[settings.index(setting)] if len(settings) > 1 else line[0].style.stroke,
            )
            for (name, setting), line in sizes.items()
        ]
        note(axes, [CUT if cut_whiskers(axes) else "", filling(every)])
        legend = figure.legend(handles=handles, loc="outside right upper", title="exponent b", alignment="left")
        mark_legend(legend, [line[0].model for line in sizes.values()])
    return figure


def by_size(frame: pd.DataFrame) -> dict[tuple[str, str], list[Point]]:
    """(name, setting) -> points from the smallest size to the largest, for what was timed at two sizes at least.

    Of one model, series of other precisions, devices or protocols are apart; batch sizes may follow the input's size.
    """
    lines: dict[tuple[str, str], list[Point]] = {}
    for point in points(frame, "throughput"):
        if not math.isnan(_side(point)) and point.facts["stage"] is None and point.value > 0:
            rest = [part for part in point.setting.split(" · ") if not part.endswith(" px") and part[:6] != "batch "]
            lines.setdefault((point.name, " · ".join(rest)), []).append(point)
    kept = {}
    for series, line in lines.items():
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


def _line(axes: Axes, name: str, line: list[Point], stroke: Stroke) -> Line2D:
    x, y = [_side(point) for point in line], [point.value for point in line]
    colour, marker, _ = line[0].style
    mark(axes.plot(x, y, color=colour, linewidth=1.3, linestyle=stroke, zorder=2), line[0].model)
    for point, side in zip(line, x, strict=True):
        whisker(axes, point, "throughput", (side, point.value), cap=2.5)
        inside = colour if point.resolved else "white"
        dot = axes.plot(side, point.value, marker=MarkerStyle(marker), color=inside, markeredgecolor=colour,
                        markersize=6.5, linestyle="", zorder=4)  # fmt: skip
        mark_point(dot, point, "throughput")
    label = f"{exponent(x, y):.2f}  {shorten(name)}"
    return Line2D([], [], color=colour, linestyle=stroke, marker=MarkerStyle(marker), markersize=6, label=label)


def _side(point: Point) -> float:
    """The side of a square input, NaN for any other: sizes are told by one number."""
    side = None if point.facts["resolution"] is None else square_side(str(point.facts["resolution"]))
    return math.nan if side is None else float(side)


SETTING: Final = ("definition", "device", "dtype", "compile", "resolution", "batch_size")
FEWEST: Final = 3  # models in common, below which there is no order to speak of
AGREEMENT: Final = LinearSegmentedColormap.from_list("agreement", ["#b2452d", "#f4f1ea", "#2f6f8f"])


def stability(frame: pd.DataFrame) -> Figure:
    """Kendall's tau of every pair of settings, over the models both have; below it the pairs that surely change places.

    Raises TableError where no two settings have three models in common.
    """
    orders = rankings(frame)
    names = list(orders)
    taus = matrix(orders)
    if not np.isfinite(taus[~np.eye(len(names), dtype=bool)]).any():
        raise TableError("throughput of three models in two settings", "fewer", "profile with --dtype fp32,bf16")
    side = 0.75 * len(names)
    beside = 0.075 * max(map(letters, names))
    with canvas(side + 0.9 + 0.75 * beside, width=max(side + beside + 0.9, 5.0)) as (figure, (axes,)):
        axes.imshow(taus, cmap=AGREEMENT, vmin=-1, vmax=1)
        for row, column in itertools.product(range(len(names)), repeat=2):
            tau = taus[row, column]
            if row == column or not np.isfinite(tau):
                axes.annotate("–", (column, row), ha="center", va="center", color=MUTED)
                continue
            swaps = len(swapped(orders[names[row]], orders[names[column]]))
            axes.annotate(f"{tau:.2f}\n{swaps} sure", (column, row), ha="center", va="center", fontsize=7.5,
                          color=text_on(to_hex(AGREEMENT((tau + 1) / 2))))  # fmt: skip
        axes.set_xticks(range(len(names)), [shorten(name) for name in names], rotation=35, ha="right")
        axes.set_yticks(range(len(names)), [shorten(name) for name in names])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        heading(axes, "Does the order of models hold?", "Kendall's tau; sure: pairs whose intervals change places")
        for text in axes.texts:
            text.set_in_layout(False)
    return figure


def rankings(frame: pd.DataFrame) -> dict[str, dict[str, Point]]:
    """Setting, in words -> model -> throughput."""
    chosen = [point for point in points(frame, "throughput") if point.facts["stage"] is None]
    varying = [facet for facet in SETTING if len({point.facts[facet] for point in chosen}) > 1]
    by_setting: dict[str, dict[str, Point]] = {}
    for point in chosen:
        said = " · ".join(_words(facet, point.facts[facet]) for facet in varying)
        by_setting.setdefault(said or "all", {})[point.model] = point
    return by_setting


def matrix(found: Mapping[str, Mapping[str, Point]]) -> NDArray[np.float64]:
    """Kendall's tau of each pair of settings (settings, settings); NaN where they have too few models in common."""
    taus = np.full((len(found), len(found)), np.nan)
    for (row, one), (column, other) in itertools.product(enumerate(found.values()), repeat=2):
        common = [model for model in one if model in other]
        if len(common) >= FEWEST:
            taus[row, column] = kendall([one[m].value for m in common], [other[m].value for m in common])
    return taus


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-a: pairs in the same order less pairs in the other, over all pairs (Kendall 1938)."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    return float(sum(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs) / len(pairs))


def swapped(one: Mapping[str, Point], other: Mapping[str, Point]) -> list[tuple[str, str]]:
    """Pairs of models whose 95 % intervals are apart in both settings, in opposite order."""
    common = [model for model in one if model in other]
    return [
        (a, b) for a, b in itertools.permutations(common, 2) if _above(one[a], one[b]) and _above(other[b], other[a])
    ]


def _above(a: Point, b: Point) -> bool:
    return a.errors is not None and b.errors is not None and a.low > b.high


def _words(facet: str, value: object) -> str:
    match facet:
        case "compile":
            return "compiled" if value else "eager"
        case "resolution":
            return f"{value} px"
        case "batch_size":
            return f"batch {value}"
    return str(value)
