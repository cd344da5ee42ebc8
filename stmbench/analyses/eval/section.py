"""How often models are right, and how well they know it."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.analyses.eval.figures import evaluation_figures, left_out
from stmbench.analyses.registry import View
from stmbench.figures.plot_data import labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Definition, Formula, Plot, Section, Table
from stmbench.reporting.model_table import best, by_model, conditions, measured

DEFINITION: Final = Definition(
    text="Each image goes through the model's own preprocessing and one forward pass in eval mode. For image i of N "
    "with label yᵢ, logits z and p = softmax(z) in float64; rankᵢ is the number of classes put before the label.",
    formulas=(
        Formula(quantity="accuracy", equals="(1/N) Σᵢ [rankᵢ < 1];  top-5: [rankᵢ < 5]"),
        Formula(quantity="calibration error", equals="Σₘ (|Bₘ| / N) · |acc(Bₘ) − conf(Bₘ)|, 15 bins of equal width"),
        Formula(quantity="NLL", equals="(1/N) Σᵢ −ln p(yᵢ)"),
        Formula(quantity="Brier score", equals="(1/N) Σᵢ Σₖ (pₖ − [k = yᵢ])²"),
    ),
    source="Guo et al. 2017, eq. 3 (calibration); Brier 1950; intervals: Wilson 1927 (accuracy), resampled images",
    page="docs/definitions/evaluation.md",
)

MOST: Final = 3  # settings with a sentence, models with a name
METRICS: Final = ("accuracy", "accuracy_top5", "calibration_error", "nll", "brier")


def evaluation_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'eval'."""
    table = by_model(
        "eval", "Accuracy and calibration", [measured(frame, metric) for metric in METRICS],
        note="Small numbers are 95 % intervals, over images; those of the calibration error reach below it, because "
        "chance only ever adds to it.",
    )  # fmt: skip
    plots = [
        Plot(
            name=name,
            figure=figure,
            title="Accuracy and calibration",
            shows="Top-1 accuracy of each model, the best first, its difference to the control where that is known, "
            "and the expected calibration error. Whiskers are 95 % intervals, of differences paired by image. Of "
            "several trainings each has a small mark; the large one is their mean, its whisker spans all intervals.",
            measured="All models see the same images. Accuracy has Wilson's interval, calibration one that allows for "
            "its bias on few images.",
        )
        for name, figure in evaluation_figures(frame).items()
    ]
    return Section(
        name="eval",
        heading="Evaluation",
        lead=best(points_of(frame, "accuracy"), "accuracy"),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(found for found in (table, _differences(frame)) if found is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame), *(Caveat(kind="note", text=text) for text in left_out(frame))),
    )


def _differences(frame: pd.DataFrame) -> Table | None:
    """What each model has over the control, answer by answer."""
    column = measured(frame, "accuracy_difference", heading="Difference", unit="points")
    names = {point.baseline for point in column.points if point.baseline}
    if len(names) != 1:
        return None
    control = labels(frame).get(names.pop(), "the control")
    note = (
        f"Accuracy minus that of {control} on the same images; 95 % intervals of paired shares (Agresti and Min 2005)."
    )
    return by_model("eval-differences", f"Differences to {control}", [column], note=note)


def section(view: View) -> Section:
    """The section of a report."""
    return evaluation_section(view.rows, view.everything)
