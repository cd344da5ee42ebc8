"""How alike representations are, and how many directions they use: the section of a report."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.analyses.registry import View
from stmbench.analyses.similarity.figures import similarity_figures
from stmbench.analyses.similarity.options import BLOCK, CKA, FIRST_TO_LAST, NAME, POOLED, RANK, UNIFORMITY
from stmbench.analyses.similarity.terminal import compared_with_control
from stmbench.figures.places import by_place, points_of
from stmbench.figures.plot_data import labels
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.model_table import Measured, by_model, cell, conditions, weights
from stmbench.tables.rows import number

PAIRS_ON_PAPER: Final = 12
CAPTIONS: Final = {
    "similarity_layers": (
        "CKA between the layers of a model",
        "Linear CKA of the maps after each block, and of the pooled features, with one another; lines are borders of "
        "stages, all panels share the scale of colours.",
        "Blocks of high CKA are layers that say the same of the images.",
    ),
    "similarity_pairs": (
        "CKA between the layers of two models",
        "Linear CKA of each layer of one model with each layer of another.",
        "A bright diagonal: layers of the same depth say the same of the images.",
    ),
    "similarity_models": (
        "CKA between models",
        "Linear CKA of the pooled features of every pair of models.",
        "All models were shown the same images, each in its own preprocessing.",
    ),
    "similarity_depth": (
        "Effective rank and uniformity by depth",
        "Of the maps after each block, averaged over positions, and of the pooled features; bands and bars are 95 % "
        "intervals.",
        "The effective rank of N images is at most N - 1, and that of D channels at most D.",
    ),
}
DEFINITION: Final = Definition(
    text="K and L are the n x n Gram matrices of two layers' features of the same n images, with a diagonal of 0. HSIC "
    "is unbiased and averaged over minibatches before the ratio is taken, so its value does not grow with the width of "
    "layers. σ are the singular values of the centred features, averaged over positions; x and y features of two "
    "images, divided by their norms.",
    formulas=(
        Formula(quantity="CKA(K, L)", equals="HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L))"),
        Formula(
            quantity="HSIC(K, L)",
            equals="(tr K L + 1ᵀK1 · 1ᵀL1 / ((n−1)(n−2)) − 2 · 1ᵀK L1 / (n−2)) / (n (n−3))",
        ),
        Formula(quantity="effective rank", equals="exp(− Σ p ln p), p = σ / Σ σ"),
        Formula(quantity="uniformity", equals="ln of the mean over pairs of exp(−2 ‖x − y‖²)"),
    ),
    source="Kornblith et al. 2019; Song et al. 2012; Nguyen et al. 2021; Roy and Vetterli 2007; Wang and Isola 2020; "
    "intervals: jackknife over images (Tukey 1958)",
    page="docs/definitions/similarity.md",
)


def section(view: View) -> Section:
    """The section of a report."""
    frame = view.rows
    plots = []
    for name, figure in similarity_figures(frame, view.folder).items():
        title, shows, measured = CAPTIONS[name.rstrip("_23456789")]
        plots.append(Plot(name=name, figure=figure, title=title, shows=shows, measured=measured))
    tables = (_summary(frame), _pairs(frame), *(_by_block(frame, *of) for of in DEPTH_TABLES))
    return Section(
        name=NAME,
        heading="Similarity of representations",
        lead=_lead(frame),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=caveats(frame),
    )


def _summary(frame: pd.DataFrame) -> Table | None:
    control, with_control = compared_with_control(frame)
    columns = [
        Measured(Column(heading="Effective rank", unit="pooled"), RANK, points_of(frame, RANK, POOLED)),
        Measured(Column(heading="Uniformity", unit="pooled"), UNIFORMITY, points_of(frame, UNIFORMITY, POOLED)),
        Measured(Column(heading="CKA", unit=f"with {control}"), CKA, with_control),
        Measured(Column(heading="CKA", unit=FIRST_TO_LAST), CKA, points_of(frame, CKA, FIRST_TO_LAST)),
    ]
    note = "CKA with another model is that of the pooled features. Small numbers are 95 % intervals."
    return by_model("similarity", "Features and their similarity", columns, note=note)


def _pairs(frame: pd.DataFrame) -> Table | None:
    """A row for each pair of models, the least alike first."""
    found = sorted(points_of(frame, CKA, POOLED), key=lambda point: point.value)
    if len({point.baseline for point in found}) < 2:
        return None  # all are in the summary
    names = labels(frame)
    lines = tuple(
        Row(
            cells=(
                Cell(text=point.label, detail=weights(point)),
                Cell(text=names[str(point.baseline)]),
                cell(point, CKA),
            ),
            model=point.model,
        )
        for point in found
    )
    heads = (Column(heading="Model", is_number=False), Column(heading="With", is_number=False), Column(heading="CKA"))
    return Table(
        name="similarity-pairs",
        title="CKA of pairs of models, pooled features",
        columns=heads,
        lines=lines,
        lines_on_paper=PAIRS_ON_PAPER,
        folded=True,
    )


DEPTH_TABLES: Final = (
    ("similarity-rank", "Effective rank by depth", RANK),
    ("similarity-uniformity", "Uniformity by depth", UNIFORMITY),
)


def _by_block(frame: pd.DataFrame, name: str, title: str, metric: str) -> Table | None:
    """A column for each block, a row for each model."""
    places = [place for of_model in by_place(frame, metric, BLOCK).values() for place in of_model]
    columns = [
        Measured(Column(heading=f"{stage + 1}.{block + 1}"), metric,
                 [place.point for place in places if place[:2] == (stage, block)])
        for stage, block in sorted({place[:2] for place in places})
    ]  # fmt: skip
    note = "Columns are stage and block, both from 1. Maps are averaged over positions."
    return by_model(name, title, columns, note=note)


def _lead(frame: pd.DataFrame) -> str:
    sentences = []
    ranked = sorted(points_of(frame, RANK, POOLED), key=lambda point: point.value)
    if len(ranked) == 1:
        sentences.append(
            f"The features of {ranked[0].label} have an effective rank of {number(ranked[0].value, RANK)}."
        )
    elif ranked:
        last, first = ranked[0], ranked[-1]
        overlap = "; their intervals overlap" if first.low <= last.high else ""
        sentences.append(
            f"Of {len(ranked)} models the features of {first.label} have the highest effective rank "
            f"({number(first.value, RANK)}), those of {last.label} the lowest ({number(last.value, RANK)}){overlap}."
        )
    pairs, names = sorted(points_of(frame, CKA, POOLED), key=lambda point: point.value), labels(frame)
    if len(pairs) > 1:
        (most, high), (least, low) = (
            (f"{point.label} and {names[str(point.baseline)]}", number(point.value, CKA))
            for point in (pairs[-1], pairs[0])
        )
        sentences.append(f"The features of {most} are most alike (CKA {high}), those of {least} least ({low}).")
    return " ".join(sentences) or "The similarity of layers was measured."
