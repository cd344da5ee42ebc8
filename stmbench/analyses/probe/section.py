"""What frozen features say of the classes: the section of a report."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.analyses.probe.figures import figures
from stmbench.analyses.probe.figures.accuracies import (
    knn_points,
    last_epochs,
    left_out,
    linear_points,
    of_probes,
    shown_k,
)
from stmbench.analyses.probe.figures.rankings import Rankings, rankings_of
from stmbench.analyses.probe.options import CHOICE, COSINE, DIFFERENCE, KNN, KNN_TOP5, LINEAR
from stmbench.analyses.probe.terminal import SETTING, measured, probed
from stmbench.analyses.registry import View
from stmbench.figures.plot_data import labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.model_table import Measured, best, by_model, cell, conditions

DEFINITION: Final = Definition(
    text="Features f are what the network gives its classifier, which is dropped; images of both splits are prepared "
    "as for an evaluation. The bank is of training images; the queries are test images, which neither choose nor fit "
    "anything.",
    formulas=(
        Formula(quantity="kNN", equals="argmax over classes c of Σ exp(s / 0.07), over those of the k most similar "
                "images of the bank that are of class c; s = f · f′ / (|f| |f′|)"),
        Formula(quantity="linear", equals="argmax of Wᵀ(f − μ)/σ + b, fitted to the bank; its learning rate (SGD) or "
                "strength (logistic) is the best of seven on a tenth of the bank that is held out"),
        Formula(quantity="mean cosine", equals="of all pairs of images in the bank; near 1 the network has collapsed"),
    ),
    source="Wu et al. 2018; Caron et al. 2021 (kNN); intervals: Wilson 1927 (accuracies), Agresti and Min 2005 "
    "(differences)",
    page="docs/definitions/probe.md",
)  # fmt: skip
MEANS: Final = (
    "Whiskers are 95 % intervals. Of several trainings each has a small mark; the large one is their mean, its whisker "
    "spans all intervals."
)
PLOTS: Final = {
    "probe_accuracy": (
        "Probes of frozen features",
        "Accuracy of the queries by their nearest neighbours and by a linear classifier, the best model first; of "
        f"several epochs of a training the last. {MEANS}",
    ),
    "probe_knn": (
        "Nearest neighbours of frozen features",
        "Accuracy of the queries by their nearest neighbours, the best model first; of several epochs of a training "
        f"the last. {MEANS}",
    ),
    "probe_linear": (
        "Linear classifiers of frozen features",
        "Accuracy of the queries by a linear classifier, the best model first; of several epochs of a training the "
        f"last. {MEANS}",
    ),
    "probe_epochs": (
        "Probes of frozen features by epoch",
        "kNN accuracy of the weights that a training kept of its epochs; bands are 95 % intervals.",
    ),
    "probe_rankings": (
        "Models under self-distillation and under labels",
        "kNN accuracy of the same models after both trainings. Whiskers are 95 % intervals; of several trainings the "
        "mark is their mean and the whisker spans all intervals.",
    ),
}


def section(view: View) -> Section:
    """The section of a report."""
    rows = of_probes(view.rows)
    plots = [
        Plot(name=name, figure=figure, title=PLOTS[name][0], shows=PLOTS[name][1],
             measured="All models see the same images of the bank and the same queries.")
        for name, figure in figures(view).items()
    ]  # fmt: skip
    last = last_epochs(rows)
    neighbours, linear = knn_points(last), linear_points(last)
    k = shown_k(neighbours)
    if k is not None:
        lead = best(neighbours[k], KNN, words=f"kNN accuracy (k = {k})")
    else:
        lead = best([point for found in linear.values() for point in found], LINEAR, words="linear accuracy")
    rankings = rankings_of(rows)
    tables = (_accuracies(rows), _more(rows), _differences(rows), _both_ways(rankings))
    return Section(
        name="probe",
        heading="Probes of features",
        lead=lead if rankings is None else f"{lead} {rankings.sentence}",
        conditions=conditions(measured(rows)),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(rows), *(Caveat(kind="note", text=text) for text in left_out(rows))),
    )


def _accuracies(rows: pd.DataFrame) -> Table | None:
    columns = [
        Measured(Column(heading=column.heading.replace("\n", ", "), unit="%"), column.metric, column.points)
        for column in probed(rows)
    ]
    return by_model("probe", "Accuracy of probes", columns, note="Small numbers are 95 % intervals over queries.")


def _more(rows: pd.DataFrame) -> Table | None:
    """Top-5 accuracy, what was chosen on the held-out images, and the mean cosine."""
    top5 = points_of(rows, KNN_TOP5)
    columns = [
        Measured(Column(heading=f"kNN top-5, k = {k:g}", unit="%"), KNN_TOP5, [one for one in top5 if one.level == k])
        for k in sorted({point.level for point in top5})
    ]
    columns += [
        Measured(Column(heading=f"Chosen {SETTING[solver]} ({solver})"), CHOICE, found)
        for solver, found in linear_points(rows, CHOICE).items()
    ]
    columns.append(Measured(Column(heading="Mean cosine"), COSINE, points_of(rows, COSINE)))
    note = "The mean cosine is that of all pairs of images in the bank."
    return by_model("probe-more", "Top-5 accuracy, choices and spread of features", columns, note=note)


def _differences(rows: pd.DataFrame) -> Table | None:
    found = points_of(rows, DIFFERENCE)
    names, controls = labels(rows), list(dict.fromkeys(point.baseline for point in found if point.baseline))
    columns = []
    for condition, level in dict.fromkeys((point.condition, str(point.level)) for point in found):
        chosen = [point for point in found if (point.condition, str(point.level)) == (condition, level)]
        heading = f"kNN, k = {chosen[0].level:g}" if condition == "knn" else f"Linear, {condition}"
        columns.append(Measured(Column(heading=heading, unit="points"), DIFFERENCE, chosen))
    against = "/".join(names.get(control, control) for control in controls)
    note = f"Accuracy minus that of {against} on the same queries; 95 % intervals of paired shares."
    return by_model("probe-differences", f"Differences to {against}", columns, note=note)


def _both_ways(rankings: Rankings | None) -> Table | None:
    """kNN accuracy and rank of each model under labels and under self-distillation."""
    if rankings is None:
        return None
    lines = [
        Row(
            cells=(
                Cell(text=one.labelled.name),
                cell(one.labelled, KNN),
                Cell(text=f"{ranks[0]:g}", value=ranks[0]),
                cell(one.distilled, KNN),
                Cell(text=f"{ranks[1]:g}", value=ranks[1]),
            ),
            model=one.labelled.model,
        )
        for one, ranks in zip(rankings.models, rankings.ranks, strict=True)
    ]
    return Table(
        name="probe-rankings",
        title="Ranks under self-distillation and under labels",
        columns=(
            Column(heading="Model", is_number=False),
            *(Column(heading="Labels", unit="%"), Column(heading="Rank, labels")),
            *(Column(heading="DINO", unit="%"), Column(heading="Rank, DINO")),
        ),
        lines=tuple(lines),
        note=f"kNN accuracy, k = {rankings.k}, means over trainings of {rankings.labelled} and {rankings.distilled}; "
        f"small numbers span their 95 % intervals. {rankings.sentence} The interval of ρ resamples models, and "
        "trainings within them.",
    )
