"""Whether predictions stay when images are moved, turned or scaled."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from stmbench.analyses.invariance.figures import PANELS, PREFIX, invariance_figures, left_out
from stmbench.analyses.registry import View
from stmbench.figures.plot_data import labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Column, Definition, Formula, Plot, Section, Table
from stmbench.reporting.metrics_table import metrics_table
from stmbench.reporting.model_table import Measured, best, by_model, conditions, measured

DEFINITION: Final = Definition(
    text="Whether a prediction stays when the image is moved, turned or scaled. Image i has label yᵢ, logits f(x) "
    "untransformed and f(x_t) at level t. Consistency rises with accuracy, so it is also given on the images that are "
    "right untransformed. The area is the mean over the range of levels, by trapezoids.",
    formulas=(
        Formula(quantity="consistency(t)", equals="(1/N) Σᵢ [argmax f(x_t) = argmax f(x)]"),
        Formula(quantity="where right", equals="the same over the images with argmax f(x) = yᵢ"),
        Formula(quantity="accuracy(t)", equals="(1/N) Σᵢ [argmax f(x_t) = yᵢ]"),
        Formula(quantity="soft cross-entropy(t)", equals="(1/N) Σᵢ −Σₖ pₖ ln qₖ, p and q the softmax of f(x), f(x_t)"),
    ),
    source="Zhang 2019; Hu et al., section 6.2 and Fig. 7; intervals: Wilson 1927, areas Agresti and Coull 1998",
    page="docs/definitions/invariance.md",
)

MOST: Final = 8  # levels in a table; all are in the figure and in the store
UNITS: Final = {"translation": " px", "rotation": "°", "scale": ""}
EACH_LEVEL: Final = ("consistency", "consistency_on_correct", "accuracy", "soft_cross_entropy", "displacement")
DIFFERENCES: Final = ("consistency_difference", "accuracy_difference")
AREAS: Final = ("consistency_auc", "consistency_on_correct_auc", "accuracy_auc", "soft_cross_entropy_auc")


def invariance_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of one analysis 'invariance_<kind>'."""
    name = str(frame["analysis"].iloc[0])
    kind = name.removeprefix(PREFIX)
    plots = []
    for figure_name, figure in invariance_figures(frame).items():
        compared = figure_name.endswith("_differences")
        shows = (
            f"What each model has more or less than the control at each level of {kind}; the others in grey. Bands are "
            "95 % intervals, paired by image; marks are full where they exclude 0."
            if compared
            else f"Consistency and accuracy against the level of {kind}; bands are 95 % intervals over images."
        )
        plots.append(
            Plot(
                name=figure_name,
                figure=figure,
                title=f"Invariance to {kind}{', differences' if compared else ''}",
                shows=shows,
                measured="All points of a curve stand on the same images: a level that one of them is too small for is "
                "left out. Of several trainings the line is the mean; the band reaches over all their intervals.",
            )
        )
    areas = by_model(
        f"{name}-areas", "Areas under the curves", [measured(frame, metric) for metric in AREAS],
        note="Means over the range of levels; small numbers are 95 % intervals.",
    )  # fmt: skip
    each = metrics_table(
        f"{name}-all-levels", "Every level", frame, EACH_LEVEL, note="Small numbers are 95 % intervals."
    )
    names = labels(everything)
    against = "/".join(names.get(str(name), str(name)) for name in frame["baseline"].dropna().unique())
    differences = metrics_table(
        f"{name}-differences", f"Differences to {against}", frame, DIFFERENCES,
        note=f"What each model has more than {against} on the same images; small numbers are 95 % intervals of paired "
        "shares (Agresti and Min 2005).",
    )  # fmt: skip
    tables = [areas, *(_by_level(frame, name, metric, UNITS.get(kind, "")) for metric in PANELS), each, differences]
    area = points_of(frame, "consistency_auc")
    return Section(
        name=name,
        heading=f"Invariance to {kind}",
        lead=best(area, "consistency_auc", words="mean consistency"),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame), *(Caveat(kind="note", text=text) for text in left_out(frame))),
    )


def _by_level(frame: pd.DataFrame, name: str, metric: str, unit: str) -> Table | None:
    measured = points_of(frame, metric)
    known = np.array(sorted({point.level for point in measured}))
    if len(known) < 2:
        return None  # the untransformed image alone is no curve
    shown = known[np.unique(np.linspace(0, len(known) - 1, MOST).round().astype(int))]
    columns = [
        Measured(Column(heading=f"{level:g}{unit}"), metric, [point for point in measured if point.level == level])
        for level in shown
    ]
    note = f"In %, at {len(shown)} of {len(known)} levels." if len(shown) < len(known) else "In %."
    title = PANELS[metric]
    return by_model(f"{name}-{metric}", title[:1].upper() + title[1:], columns, note=note)


def section(view: View) -> Section:
    """The section of a report."""
    return invariance_section(view.rows, view.everything)
