"""Effective rank and uniformity of features by depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.analyses.similarity.options import BLOCK, POOLED, RANK, UNIFORMITY
from stmbench.figures.annotations import mark
from stmbench.figures.curves import End, name_ends
from stmbench.figures.palette import strokes_of
from stmbench.figures.places import by_place, conditions_of, points_of
from stmbench.figures.plot_data import Point
from stmbench.figures.style import GRID, MUTED, canvas, letters, shorten
from stmbench.tables.rows import number

PANELS: Final = {RANK: "effective rank", UNIFORMITY: "uniformity (lower: more even)"}
BEYOND: Final = 0.3  # stages from the last block's stage to the pooled features


class Line(NamedTuple):
    """A model's number of stages, and its points with their depths in stages, the pooled features beyond the last."""

    stages: int
    depths: list[float]
    points: list[Point]


def lines_of_depth(frame: pd.DataFrame) -> dict[str, dict[str, Line]]:
    """Metric -> label of a model -> its values by depth, of maps averaged over positions; none without values."""
    found = {}
    for metric in PANELS:
        ends, lines = {point.label: point for point in points_of(frame, metric, POOLED)}, dict[str, Line]()
        for label, places in by_place(frame, metric, BLOCK).items():
            stages = 1 + max(place.stage for place in places)
            counts = {stage: sum(place.stage == stage for place in places) for stage in range(stages)}
            depths = [stage + (block + 0.5) / max(counts[stage], block + 1) for stage, block, _ in places]
            lines[label] = Line(stages, depths, [place.point for place in places])
            if label in ends:
                lines[label].depths.append(stages + BEYOND)
                lines[label].points.append(ends[label])
        if lines:
            found[metric] = lines
    return found


def by_depth(panels: Mapping[str, Mapping[str, Line]]) -> Figure:
    """A panel for each metric and a line for each model; bands and bars are 95 % intervals.

    Where models differ in their number of stages, depth is a share of it.
    """
    first = next(iter(panels.values()))
    points = [line.points[0] for line in first.values()]
    untrained = all(point.is_untrained for point in points)
    names = {
        label: shorten(label) + (" (random init)" if line.points[0].is_untrained and not untrained else "")
        for label, line in first.items()
    }
    said = conditions_of(points, untrained)
    lengths = {line.stages for lines in panels.values() for line in lines.values()}
    room = 0.5 + 0.07 * max(map(letters, names.values()))
    width = max(0.9 + 2.9 * len(panels) + room, 0.066 * len(said) + 0.3)
    with canvas(3.5, width=width, columns=len(panels), sharey=False) as (figure, axes_of):
        last: list[End] = []
        for axes, (metric, lines) in zip(axes_of, panels.items(), strict=True):
            last = _draw(axes, metric, lines, names, lengths)
        figure.suptitle("Features by depth", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(said, fontsize=8.5, color=MUTED)
        name_ends(figure, axes_of[-1], last)
    return figure


def _draw(axes: Axes, metric: str, lines: Mapping[str, Line], names: Mapping[str, str], lengths: set[int]) -> list[End]:
    strokes, ends = strokes_of([line.points[0].style for line in lines.values()]), []
    for (label, line), stroke in zip(lines.items(), strokes, strict=True):
        share = 1.0 if len(lengths) == 1 else 1 / line.stages
        x, found = [share * depth for depth in line.depths], line.points
        colour, marker, own = found[0].style
        certain = [(depth, point) for depth, point in zip(x, found, strict=True) if point.errors is not None]
        low, high = [point.low for _, point in certain], [point.high for _, point in certain]
        places = [depth for depth, _ in certain]
        if len(certain) == len(found):
            band: Artist = axes.fill_between(places, low, high, color=colour, alpha=0.14, linewidth=0, zorder=2)
        else:
            band = axes.vlines(places, low, high, color=colour, linewidth=1.1, zorder=2)
        curve = axes.plot(x, [point.value for point in found], color=colour, linestyle=stroke, linewidth=1.3, zorder=3,
                          marker=MarkerStyle(marker), markersize=4.5,
                          markerfacecolor=colour if stroke == own else "white")  # fmt: skip
        said = ", ".join(number(point.value, metric) for point in found)
        mark([band, *curve], found[0].model, f"{label}: {PANELS[metric]} {said}")
        ends.append(End(x[-1], found[-1].value, names.get(label, label), found[0].model, found[0].style))
    _depth_axis(axes, lengths)
    axes.set_title(PANELS[metric], fontsize=9, loc="left", pad=4)
    if metric == RANK:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    return ends


def _depth_axis(axes: Axes, lengths: set[int]) -> None:
    if len(lengths) > 1:
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_xlabel("share of the stages")
        return
    (stages,) = lengths
    for edge in range(1, stages + 1):
        axes.axvline(edge, color=GRID, linewidth=1, zorder=0)
    texts = [f"stage {stage + 1}" if stages <= 4 else str(stage + 1) for stage in range(stages)]
    axes.set_xticks([*(stage + 0.5 for stage in range(stages)), stages + BEYOND], [*texts, "p"], fontsize=8)
    axes.set_xlim(0, stages + 2 * BEYOND)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("after each block; p: pooled features" if stages <= 4 else "stage; p: pooled features")
