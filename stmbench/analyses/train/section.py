"""How models learned: curves, and the accuracy after the last epoch."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.analyses.registry import View
from stmbench.analyses.train.figures import training_figures
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Definition, Formula, Plot, Section
from stmbench.reporting.model_table import best, by_model, conditions, measured, points_of

DEFINITION: Final = Definition(
    text="Every run follows its recipe from weights drawn by its seed; the order of images and all augmentation are "
    "functions of the seed and the place in the run. The result is the last epoch's, or the average of weights where "
    "the recipe keeps one: no epoch is chosen by its accuracy.",
    formulas=(
        Formula(quantity="learning rate at batch B", equals="lr · B / B₀ after a linear warm-up, then a cosine"),
        Formula(quantity="accuracy", equals="(1/N) Σᵢ [argmax zᵢ = yᵢ], every image of the held-out split once"),
    ),
    source="Goyal et al. 2017 (linear scaling); recipes: Hu et al., Gao et al., Li et al.; interval: Wilson 1927",
    page="docs/training.md",
)

METRICS: Final = ("accuracy", "best_accuracy", "training_time")


def training_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'train'."""
    table = by_model(
        "train", "After the last epoch", [measured(frame, metric) for metric in METRICS],
        note="Small numbers are 95 % intervals, over images. The best epoch is chosen by the very images.",
    )  # fmt: skip
    plots = [
        Plot(
            name=name,
            figure=figure,
            title="Training curves",
            shows="Training loss and accuracy on the held-out images by epoch, a line for each run.",
            measured="Accuracy is taken after each epoch; the loss is the mean over its steps, with augmentation.",
        )
        for name, figure in training_figures(frame).items()
    ]
    return Section(
        name="train",
        heading="Training",
        lead=best(points_of(frame, "accuracy"), "accuracy"),
        conditions=conditions(frame[frame["kind"] == "summary"]),
        plots=tuple(plots),
        tables=() if table is None else (table,),
        definition=DEFINITION,
        caveats=caveats(frame),
    )


def section(view: View) -> Section:
    """The section of a report."""
    return training_section(view.rows, view.everything)
