"""How often models are right, how that differs from a control, and how far their confidence is off: the best first."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.differences import differences
from stmbench.figures.dots import dot_plot
from stmbench.figures.plot_data import points, points_of

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
    each = {metric: points_of(frame, metric) for metric in PANELS}
    if not each["accuracy"]:
        raise TableError("rows of the metric 'accuracy'", "none", "run `stmbench eval`")
    words = dict(PANELS)
    if (compared := differences(frame, "accuracy")) is not None:
        each = {"accuracy": each["accuracy"], "accuracy_difference": compared.points, **each}
        words["accuracy_difference"] = f"difference to {compared.control.name}, points"
    return dot_plot(each, words, "Accuracy and calibration", from_zero=("calibration_error",))


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return evaluation_figures(view.rows)
