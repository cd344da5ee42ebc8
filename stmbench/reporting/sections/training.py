"""How models learned: curves, and the accuracy after the last epoch."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.figures.training import training_figures
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Plot, Section
from stmbench.reporting.definitions import TRAINING
from stmbench.reporting.model_table import by_model, conditions, measured, points_of
from stmbench.reporting.sections.evaluation import best

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
        definition=TRAINING,
        caveats=caveats(frame),
    )
