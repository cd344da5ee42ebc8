"""How models learned: curves, and the accuracy after the last epoch."""

from __future__ import annotations

import dataclasses
from typing import Final

import pandas as pd

from stmbench.analyses.registry import View
from stmbench.analyses.train.figures import left_out, training_figures
from stmbench.figures.plot_data import labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.model_table import best, by_model, conditions, measured
from stmbench.tables.labels import recipe_and_seed
from stmbench.tables.trainings import configurations

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

WITHOUT_LABELS: Final = dataclasses.replace(
    DEFINITION,
    formulas=(
        DEFINITION.formulas[0],
        Formula(quantity="loss", equals="−Σ p ln q, p = softmax((t − c) / Tₜ), q = softmax(s / Tₛ)"),
        Formula(quantity="loss, in two parts", equals="entropy of the teacher's p + divergence KL(p ‖ q)"),
        Formula(quantity="vote for a class", equals="Σ exp(cos / 0.07) over its images among the k nearest ones"),
    ),
    source="Caron et al. 2021 (DINO); Goyal et al. 2017 (linear scaling); interval: Wilson 1927",
    page="docs/self_supervision.md",
)

LEADS: Final = {
    "accuracy": "accuracy",
    "box_ap": "box AP",
    "knn_accuracy": "kNN accuracy",
    "instance_accuracy": "accuracy of nearest views",
}
METRICS: Final = (
    *("accuracy", "best_accuracy", "box_ap", "mask_ap", "best_box_ap"),
    *("knn_accuracy", "best_knn_accuracy", "instance_accuracy", "training_time"),
)


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
            title="Training curves" if name == "training_curves" else "Training curves of self-distillation",
            shows="Training loss, and accuracy or average precision on the held-out images, by epoch, a line for each "
            "model with the last epoch's value at its end. Several seeds are a line through their mean and a band over "
            "all of them.",
            measured="Accuracy or average precision is taken after each epoch; the loss is the mean over its steps, "
            "with augmentation.",
        )
        for name, figure in training_figures(frame).items()
    ]
    found = [one for one in (table, configuration_table(frame)) if one is not None]
    metrics = set(frame["metric"])
    is_without_labels = "teacher_entropy" in metrics and not {"accuracy", "box_ap"} & metrics
    return Section(
        name="train",
        heading="Training",
        lead=" ".join(
            best(scored, name, words=words) for name, words in LEADS.items() if (scored := points_of(frame, name))
        )
        or "No accuracy was measured.",
        conditions=conditions(frame[frame["kind"] == "summary"]),
        plots=tuple(plots),
        tables=tuple(found),
        definition=WITHOUT_LABELS if is_without_labels else DEFINITION,
        caveats=(*caveats(frame), *(Caveat(kind="note", text=text) for text in left_out(frame))),
    )


def configuration_table(frame: pd.DataFrame) -> Table | None:
    """Every setting of every training, resolved: a column for each configuration; fields that differ stand first."""
    found = configurations(frame)
    if not found:
        return None
    names = list(dict.fromkeys(name for settings, _ in found for name in settings))
    differing = [name for name in names if len({settings.get(name) for settings, _ in found}) > 1]
    lines = [
        Row(cells=(Cell(text=name), *(Cell(text=settings.get(name, "–")) for settings, _ in found)))
        for name in [*differing, *(name for name in names if name not in differing)]
    ]
    titles = labels(frame)
    columns = [Column(heading="Setting", is_number=False)]
    for _, runs in found:
        models = list(dict.fromkeys(titles.get(model, model) for model, _ in runs))
        seeds = sorted({recipe_and_seed(weights)[1] for _, weights in runs}, key=lambda seed: (len(seed), seed))
        of = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}" if all(seeds) else ""
        heading = ", ".join(models) if len(found) > 1 or len(models) < 4 else f"all {len(models)} models"
        columns.append(Column(heading=heading, unit=of, is_number=False))
    return Table(
        name="configurations",
        title="Configuration of every training",
        columns=tuple(columns),
        lines=tuple(lines),
        note=_note(len(differing)),
        folded=True,
    )


def _note(differing: int) -> str:
    if not differing:
        return "All runs share these settings."
    return "The first row differs." if differing == 1 else f"The first {differing} rows differ."


def section(view: View) -> Section:
    """The section of a report."""
    return training_section(view.rows, view.everything)
