"""How often models are right, and how far their confidence is from that: one dot each, the best first."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_point
from stmbench.figures.groups import within
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import canvas, heading, rows_axis, rows_height, rows_width

PERCENT: Final = ("accuracy", "accuracy_top5", "calibration_error", "accuracy_difference")
PANELS: Final = {"accuracy": "top-1 accuracy, %", "calibration_error": "expected calibration error, %"}


def evaluation_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'eval'; none where it has no accuracy."""
    chosen = frame[frame["analysis"] == "eval"]
    chosen.attrs = frame.attrs
    try:
        return {"accuracy": accuracy(chosen)}
    except TableError:
        return {}


def accuracy(frame: pd.DataFrame) -> Figure:
    """Top-1 accuracy, and beside it the calibration error, with 95 % intervals. Raises TableError without accuracy.

    Models with random weights are labelled so.
    """
    by_metric = {metric: {point.label: point for point in points(frame, metric)} for metric in PANELS}
    groups = within(by_metric["accuracy"].values()).values()  # trained models stand before untrained ones
    apart = sorted(groups, key=lambda group: group[0].is_untrained)
    rows = [point for group in apart for point in sorted(group, key=lambda point: -point.value)]
    names = [f"{point.label} (random init)" if point.is_untrained else point.label for point in rows]
    with canvas(rows_height(len(rows)), width=rows_width(names), columns=len(PANELS)) as (figure, panels):
        rows_axis(panels[0], names)
        for tick, point in zip(panels[0].get_yticklabels(), rows, strict=True):
            mark(tick, point.key)
        for axes, (metric, words) in zip(panels, PANELS.items(), strict=True):
            _dots(axes, metric, [by_metric[metric].get(point.label) for point in rows])
            axes.set_xlabel(words)
        panels[1].tick_params(axis="y", length=0)
        panels[1].spines["left"].set_visible(False)
        panels[1].grid(axis="x")
        data = {str(point.facts["dataset"]).partition(":")[0] for point in rows}
        said = subtitle(rows, without=("batch_size",))
        heading(panels[0], "Accuracy and calibration", " · ".join([*([said] if said else []), *sorted(data)]))
    return figure


def _dots(axes: Axes, metric: str, column: list[Point | None]) -> None:
    """A dot for each row, on an axis from 0 that ends where it can be read: at 100 unless all is far lower."""
    ends = [100 * (point.value if point.errors is None else point.high) for point in column if point is not None]
    for row, point in enumerate(column):
        if point is None:
            continue
        colour, marker, _ = point.style
        if point.errors is not None:
            whiskers = [[100 * length] for length in point.errors]
            bars = axes.errorbar(
                100 * point.value, row, xerr=whiskers, color=colour, capsize=3, elinewidth=1.0, zorder=3
            )
            mark_point(bars, point, metric)
        dot = axes.plot(100 * point.value, row, marker=MarkerStyle(marker), color=colour, markersize=7, zorder=4)
        mark_point(dot, point, metric)
    highest = max(ends, default=100.0)
    top = next((end for end in (5.0, 10.0, 20.0, 50.0) if highest <= end), 100.0)
    axes.set_xlim(-0.02 * top, 1.02 * top)


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return evaluation_figures(view.rows)
