"""How often models are right, how that differs from a control, and how far their confidence is off: the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_point
from stmbench.figures.curves import ends_of, join_trainings, set_share_axis, share_limits
from stmbench.figures.differences import differences
from stmbench.figures.groups import within
from stmbench.figures.palette import CONTROL
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import canvas, heading, rows_axis, rows_height, rows_width

PERCENT: Final = ("accuracy", "accuracy_top5", "calibration_error", "accuracy_difference")
PANELS: Final = {"accuracy": "top-1 accuracy, %", "calibration_error": "expected calibration error, %"}


def evaluation_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'eval'; none where there are not two models, or two of their weights."""
    chosen = _evaluated(frame)
    try:
        return {} if left_out(frame) else {"accuracy": accuracy(chosen)}
    except TableError:
        return {}


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line where the figure would hold one point."""
    try:
        found = points(_evaluated(frame), "accuracy")
    except TableError:
        return []
    return ["No figure of accuracy: it would hold one point; the table has its value."] if len(found) == 1 else []


def _evaluated(frame: pd.DataFrame) -> pd.DataFrame:
    chosen = frame[frame["analysis"] == "eval"]
    chosen.attrs = frame.attrs
    return chosen


def accuracy(frame: pd.DataFrame) -> Figure:
    """Top-1 accuracy, its difference to the control's where the table has it, and the calibration error.

    Whiskers are 95 % intervals; those of differences are paired by image. Several trainings of a model are a small mark
    each, and a large one at their mean with a whisker over all their intervals. Models with random weights are labelled
    so. Raises TableError without accuracy.
    """
    each = {metric: _maybe(frame, metric) for metric in PANELS}
    if not each["accuracy"]:
        raise TableError("rows of the metric 'accuracy'", "none", "run `stmbench eval`")
    joined = {metric: join_trainings(found) for metric, found in each.items()}
    words = dict(PANELS)
    if (compared := differences(frame, "accuracy")) is not None:
        joined = {"accuracy": joined["accuracy"], "accuracy_difference": compared.points, **joined}
        each["accuracy_difference"] = []
        words["accuracy_difference"] = f"difference to {compared.control.name}, points"
    groups = within(joined["accuracy"]).values()  # trained models stand before untrained ones
    apart = sorted(groups, key=lambda group: group[0].is_untrained)
    rows = [point for group in apart for point in sorted(group, key=lambda point: -point.value)]
    names = [
        f"{point.label} (random init)" if point.is_untrained and "random init" not in point.setting else point.label
        for point in rows
    ]
    joined = {metric: found for metric, found in joined.items() if found}
    width = rows_width(names) + 2.0 * (len(joined) - 2)
    with canvas(rows_height(len(rows)), width=width, columns=len(joined)) as (figure, panels):
        rows_axis(panels[0], names)
        for tick, point in zip(panels[0].get_yticklabels(), rows, strict=True):
            mark(tick, point.model)
        for axes, (metric, found) in zip(panels, joined.items(), strict=True):
            by_label = {point.label: point for point in found}
            _dots(axes, metric, [by_label.get(point.label) for point in rows], each[metric])
            axes.set_xlabel(words[metric])
        for axes in panels[1:]:
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="x")
        data = {str(point.facts["dataset"]).partition(":")[0] for point in rows}
        said = subtitle(rows, without=("batch_size",))
        trainings = max(point.trainings for point in rows)
        more = [f"{trainings} trainings each"] if trainings > 1 else []
        heading(panels[0], "Accuracy and calibration", " · ".join([*([said] if said else []), *sorted(data), *more]))
        for text in panels[0].texts:
            text.set_in_layout(False)  # else a long text takes its width from the panels
    return figure


def _maybe(frame: pd.DataFrame, metric: str) -> list[Point]:
    try:
        return points(frame, metric)
    except TableError:
        return []


def _dots(axes: Axes, metric: str, column: Sequence[Point | None], each: Sequence[Point]) -> None:
    """A dot for each row, on an axis that fits the values and their intervals."""
    if metric == "accuracy_difference":
        axes.axvline(0, color=CONTROL.colour, linestyle=CONTROL.stroke, linewidth=1.2, zorder=1)
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
        for one in (other for other in each if point.trainings > 1 and _is_training_of(other, point)):
            small = axes.plot(100 * one.value, row, marker=MarkerStyle(marker), color="white", markersize=4,
                              markeredgecolor=colour, markeredgewidth=0.9, zorder=3.5)  # fmt: skip
            mark_point(small, one, metric)
        dot = axes.plot(100 * point.value, row, marker=MarkerStyle(marker), color=colour, markersize=7, zorder=4)
        mark_point(dot, point, metric)
    ends = [100 * end for point in column if point is not None for end in (*ends_of(point), point.value)]
    if metric == "calibration_error":
        ends.append(0.0)  # the best there is
    if metric == "accuracy_difference":
        ends.append(0.0)
    set_share_axis(axes, *share_limits(ends), which="x", ends=None if metric == "accuracy_difference" else (0, 100))


def _is_training_of(one: Point, joined: Point) -> bool:
    """Whether a point is one of those behind a mean."""
    return (one.model, one.comparable) == (joined.model, joined.comparable) and one.is_untrained == joined.is_untrained


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return evaluation_figures(view.rows)
