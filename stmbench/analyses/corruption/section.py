"""How much accuracy the common corruptions of images cost."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.analyses.corruption.figures import figures, left_out
from stmbench.analyses.corruption.options import CORRUPTIONS, overall, title
from stmbench.analyses.corruption.terminal import summary_columns
from stmbench.analyses.registry import View
from stmbench.figures.plot_data import labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Column, Definition, Formula, Plot, Section, Table
from stmbench.reporting.metrics_table import metrics_table
from stmbench.reporting.model_table import Measured, best, by_model, conditions

DEFINITION: Final = Definition(
    text="Fifteen corruptions of four families (noise, blur, weather, digital) at five severities, applied to what the "
    "model sees before normalisation, with the parameters of ImageNet-C; lengths in pixels are those of 224 px and "
    "scale with the image. Each image has its own random numbers, the same for all models. E is an error rate of the "
    "model and B one of the baseline: with c and s under corruption c at severity s, without of the clean images.",
    formulas=(
        Formula(quantity="mean accuracy", equals="mean over c and s of 1 − E(c, s)"),
        Formula(quantity="CE(c)", equals="Σₛ E(c, s) / Σₛ B(c, s);  mCE: mean over c"),
        Formula(quantity="relative CE(c)", equals="Σₛ (E(c, s) − E) / Σₛ (B(c, s) − B);  relative mCE: mean over c"),
    ),
    source="Hendrycks and Dietterich 2019; frost is a texture of ours; intervals: Wilson 1927 (a severity), Agresti "
    "and Coull 1998 (means of accuracies), resampled images, the same for model and baseline (ratios; Efron 1979)",
    page="docs/definitions/corruption.md",
)
PLOTS: Final = {
    "differences": (
        "Accuracy by severity, differences",
        "What each model has more or less than the control, mean over the corruptions of a family, at each severity; "
        "the others in grey. Bands are 95 % intervals, paired by image; marks are full where they exclude 0.",
    ),
    "severity": (
        "Accuracy by severity",
        "Top-1 accuracy under each corruption against its severity, and of the clean images at the left; bands are "
        "95 % intervals over images.",
    ),
    "accuracy": (
        "Mean accuracy by corruption",
        "Top-1 accuracy, mean over the five severities, best model first; the last column is the mean of the others "
        "without the clean images.",
    ),
    "errors": (
        "Corruption errors",
        "Errors summed over the severities, in per cent of the baseline's: blue is better than the baseline, red "
        "worse.",
    ),
}


def section(view: View) -> Section:
    """The section of a report."""
    rows = view.rows
    plots = []
    for name, figure in figures(view).items():
        heading, shows = PLOTS[name.split("_")[1]]
        measured = "All models see the same corrupted images."
        plots.append(Plot(name=name, figure=figure, title=heading, shows=shows, measured=measured))
    tables = (
        _summary(rows),
        _by_corruption(rows, "mean_accuracy", "Mean accuracy by corruption"),
        _by_corruption(rows, "corruption_error", f"Corruption errors{_against(rows)}"),
        _by_corruption(rows, "relative_corruption_error", f"Relative corruption errors{_against(rows)}"),
        _differences(rows),
    )
    shown = [name for name in CORRUPTIONS if (rows["condition"] == name).any()]
    means = [point for point in points_of(rows, "mean_accuracy") if point.condition == overall(shown)]
    return Section(
        name="corruption",
        heading="Common corruptions",
        lead=best(means, "accuracy", words="mean accuracy under corruption"),
        conditions=conditions(rows),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(rows), *(Caveat(kind="note", text=text) for text in left_out(view))),
    )


def _summary(rows: pd.DataFrame) -> Table | None:
    shown = {"mCE": "mean_corruption_error", "relative mCE": "relative_mean_corruption_error"}
    columns = [
        Measured(
            Column(heading=heading[:1].upper() + heading[1:] if heading != "mCE" else heading, unit="%"),
            shown.get(heading, "mean_accuracy"),
            found,
        )
        for heading, found in summary_columns(rows).items()
    ]
    note = "Means over severities and corruptions; small numbers are 95 % intervals."
    return by_model("corruption", f"Accuracy under corruption{_against(rows)}", columns, note=note)


def _by_corruption(rows: pd.DataFrame, metric: str, words: str) -> Table | None:
    shares = points_of(rows, metric)
    columns = [
        Measured(Column(heading=title(name), unit="%"), metric, [point for point in shares if point.condition == name])
        for name in CORRUPTIONS
    ]
    return by_model(f"corruption-{metric.replace('_', '-')}", words, columns, note="Means over the five severities.")


def _differences(rows: pd.DataFrame) -> Table | None:
    """Of each corruption and family, the severities side by side."""
    return metrics_table(
        "corruption-differences",
        "Differences in accuracy",
        rows,
        ["accuracy_difference"],
        across=("level",),
        heading=lambda _, level: Column(heading=f"Severity {level:g}" if level else "Clean", unit="points"),
        note="What each model has more than the baseline on the same images; small numbers are 95 % intervals, paired "
        "by image.",
    )


def _against(rows: pd.DataFrame) -> str:
    """', errors relative to A', where there are errors relative to one."""
    errors = rows[rows["metric"].str.contains("corruption_error")]
    names, models = labels(rows), list(dict.fromkeys(errors["baseline"].dropna()))
    return f", errors relative to {'/'.join(names.get(model, model) for model in models)}" if models else ""
