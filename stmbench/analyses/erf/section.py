"""How far the input reaches that moves the central unit of each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

from stmbench.analyses.erf.figures.maps import beyond_the_image, erf_rows
from stmbench.analyses.erf.figures.plots import erf_figures
from stmbench.analyses.erf.options import OURS
from stmbench.analyses.registry import View
from stmbench.figures.curves import join_trainings
from stmbench.figures.plot_data import Point, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Column, Definition, Formula, Plot, Section, Table
from stmbench.reporting.metrics_table import metrics_table
from stmbench.reporting.model_table import Measured, by_model, conditions
from stmbench.tables.rows import number

DEFINITION: Final = Definition(
    text="Which pixels the central unit u of a stage depends on: the gradient G of the sum over channels of ReLU(u) to "
    "the normalised input, its magnitude at each pixel, averaged over images. The square is centred where the unit "
    "is, which follows from the strides, kernels and paddings before it, not on the image.",
    formulas=(
        Formula(quantity="M(y, x)", equals="mean over images of √( Σ_c G_c(y, x)² )"),
        Formula(quantity="ERF@p", equals="s / √(H·W), s the least side of a square with Σ_square M ≥ p % of Σ M"),
    ),
    source="Luo et al. 2016; Hu et al., section 6.1, Figs. 5 and 6; intervals: resampled images",
    page="docs/definitions/erf.md",
)

CAPTIONS: Final = {
    "erf": (
        "Effective receptive fields",
        "Mean gradient map of the central unit of each stage; the square holds the named share of the map.",
        "The square is centred where the unit is. Colours follow the quarter power of the map over its own maximum: "
        "panels do not share a scale.",
    ),
    "erf_accuracy": (
        "Receptive field and accuracy",
        "Size of the last stage's field against top-1 accuracy, both with 95 % intervals.",
        "Accuracy is that of the evaluation of the same weights.",
    ),
    "erf_detection": (
        "Receptive field and detection",
        "Size of the last stage's field against box AP, both with 95 % intervals, and the rank correlation.",
        "The field is the detector's own where that was measured, else that of the backbone it was built from, with "
        "other weights. The correlation's interval resamples models: of a perfect order it has no width.",
    ),
}


def erf_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'erf'; artifacts are paths that can be opened."""
    definitions = list(frame.loc[frame["value"].notna(), "definition"].unique())
    shown = OURS if OURS in definitions else (definitions[0] if definitions else OURS)
    rows = erf_rows(frame, shown)
    rows.attrs = frame.attrs
    stages, left_out = _by_stage(rows), list[str]()
    plots = [
        Plot(name=name, figure=figure, title=CAPTIONS[name][0], shows=CAPTIONS[name][1], measured=CAPTIONS[name][2])
        for name, figure in erf_figures(frame, str(shown), Path(), beside=everything, left_out=left_out).items()
    ]
    tables = [_stage_table(rows, stages, str(shown)), _definition_table(frame, definitions)]
    tables += [_all_stages_table(frame)] if len(definitions) > 1 else []
    at = list(frame.loc[frame["value"].notna(), "resolution"].dropna().unique())
    return Section(
        name="erf",
        heading="Effective receptive field",
        lead=_lead(rows),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(
            *caveats(frame),
            *_at_one_size(at),
            *_beyond_the_image(rows),
            *(Caveat(kind="note", text=text) for text in left_out),
        ),
    )


def _by_stage(rows: pd.DataFrame) -> dict[tuple[float, int], list[Point]]:
    """(percentage, stage) -> points, whose labels then leave the stage out."""
    measured = {}
    for _, group in rows.groupby(["level", "stage"], sort=True):
        group.attrs = rows.attrs
        measured[float(group["level"].iloc[0]), int(group["stage"].iloc[0])] = points_of(group, "erf")
    return measured


def _stage_table(rows: pd.DataFrame, stages: dict[tuple[float, int], list[Point]], definition: str) -> Table | None:
    columns = [
        Measured(Column(heading=f"Stage {stage + 1}", unit=f"ERF@{percent:g}"), "erf", points)
        for (percent, stage), points in stages.items()
    ]
    note = f"Side of the square over the input's side, by {definition}; small numbers are 95 % intervals."
    return by_model("erf", "Size of the effective receptive field", columns, note=note)


def _definition_table(frame: pd.DataFrame, definitions: list[str]) -> Table | None:
    """The last stage's field by each definition: the same maps, read by other rules."""
    if len(definitions) < 2:
        return None
    columns = []
    for definition in definitions:
        rows = erf_rows(frame, definition)
        rows = rows[rows["stage"] == rows.groupby("model")["stage"].transform("max")]
        rows = rows[rows["level"] == rows["level"].min()]
        rows.attrs = frame.attrs
        columns.append(Measured(_heading(definition), "erf", points_of(rows, "erf")))
    note = "paper.v1 and authors_code.v1 reproduce what the paper says and what circulating scripts compute."
    return by_model("erf-definitions", "Last stage by definition", columns, note=note)


def _all_stages_table(frame: pd.DataFrame) -> Table | None:
    """Every stage by each definition."""
    return metrics_table(
        "erf-stages-by-definition",
        "Every stage by definition",
        frame,
        ["erf"],
        across=("stage", "level"),
        heading=lambda _, stage, percent: Column(heading=f"Stage {stage + 1}", unit=f"ERF@{percent:g}"),
        note="Small numbers are 95 % intervals.",
    )


def _heading(definition: str) -> Column:
    """'stmbench.magnitude.linear.v1' in two lines."""
    parts = definition.split(".")
    return Column(heading=".".join(parts[-2:]), unit=".".join(parts[:-2]))


def _lead(rows: pd.DataFrame) -> str:
    last = rows[rows["stage"] == rows.groupby("model")["stage"].transform("max")]
    last = last[last["level"] == last["level"].min()]
    last.attrs = rows.attrs
    ranked = sorted(join_trainings(points_of(last, "erf")), key=lambda point: -point.value)
    if not ranked:
        return "No receptive field was measured."
    what = f"ERF@{ranked[0].level:g} of the last stage"
    first, least = ranked[0], ranked[-1]
    seeds = f", mean of {first.trainings} seeds" if first.trainings > 1 else ""
    if len(ranked) == 1:
        return f"{first.label}: {what} {number(first.value, 'erf')} of the input's side{seeds}."
    return (
        f"{what} is largest for {first.label} ({number(first.value, 'erf')} of the input's side{seeds}) and least for "
        f"{least.label} ({number(least.value, 'erf')})."
    )


def _at_one_size(sizes: list[int]) -> tuple[Caveat, ...]:
    if len(sizes) != 1:
        return ()
    text = f"Measured at {sizes[0]} px: rankings at another input size can be the other way round."
    return (Caveat(kind="note", text=text),)


def _beyond_the_image(rows: pd.DataFrame) -> tuple[Caveat, ...]:
    text = beyond_the_image(rows)
    return () if text is None else (Caveat(kind="note", text=text),)


def section(view: View) -> Section:
    """The section of a report."""
    return erf_section(view.rows, view.everything)
