"""What a run leaves in the table.

raw rows      each epoch: train_loss, learning_rate, throughput and what the task scores (accuracy and test_loss), with
              `step` (of the optimiser, at the epoch's end) and `sample` (the epoch, 0-based); where weights are
              averaged, scores are the average's, and accuracy_raw is that of the weights after the last epoch
summary rows  the headline (accuracy) of the last epoch with an interval over images, the best one's (chosen by these
              very images, so it is optimistically biased), the time, and where weights and losses are
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from stmbench.tables import Row
from stmbench.tables.files import replacing
from stmbench.tables.labels import size_text
from stmbench.training.loop import Loop
from stmbench.training.settings import TrainingSettings

if TYPE_CHECKING:
    from stmbench.training.analysis import Training

LOSSES = "losses.npy"


def training_rows(analysis: Training, run: TrainingSettings, loop: Loop, weights_file: str, weights: str) -> list[Row]:
    """All rows of a finished run.

    Args:
        weights_file: relative to the store's folder. weights: the table's label of them.
    """
    data, record = analysis.data(run), loop.record
    height, width = loop.task.size
    known: dict[str, Any] = {
        "model": run.model,
        "weights": weights,
        "seed": run.seed,
        "dataset": data.train.column,
        "split": data.test.split,
        "dtype": run.dtype,
        "compile": run.compile,
        "resolution": size_text(height, width),
        "batch_size": run.recipe.batch_size,
        "condition": None if run.data_fraction == 1 else f"data_fraction={run.data_fraction:g}",
    }

    def row(metric: str, value: float | None, **columns: Any) -> Row:
        return analysis.row(metric=metric, value=value, **{**known, **columns})

    rows = []
    for epoch in record.epochs:
        place = {"step": epoch.step, "sample": epoch.epoch}
        trained = {**place, "num_images": epoch.images}
        judged = {**place, "num_images": epoch.test_images}
        rows += [
            row("train_loss", epoch.loss, split=data.train.split, **trained),
            row("learning_rate", epoch.learning_rate, split=data.train.split, **trained),
            row("throughput", epoch.images / max(epoch.seconds, 1e-9), split=data.train.split, **trained),
            *(row(metric, value, **judged) for metric, value in epoch.scores.items()),
        ]
        if epoch.raw is not None:
            rows.append(row(f"{loop.task.headline}_raw", epoch.raw, **judged))
    last = record.epochs[-1]
    headline, reached = last.headline
    count = last.test_images
    ends = {"ci_low": last.low, "ci_high": last.high, "num_samples": count, "num_images": count}
    params = sum(parameter.numel() for parameter in loop.task.trained(loop.model).parameters())
    key = analysis.unit_of(run).key
    losses = _keep(analysis, key, np.array([record.losses, record.rates]))
    return [
        *rows,
        row(headline, reached, kind="summary", step=last.step, **ends),
        row(f"best_{headline}", record.best, kind="summary", num_images=count),
        row("training_time", record.total_seconds, kind="summary", num_images=sum(e.images for e in record.epochs)),
        row("losses", len(record.losses), artifact=losses),
        row("weights", params, artifact=weights_file),
    ]


def _keep(analysis: Training, key: str, values: np.ndarray) -> str:
    """Write (2, steps) losses and learning rates beside the part; its place in the store. The first process alone."""
    path = analysis.store.artifact(key, LOSSES)
    if analysis.group.is_first:
        content = io.BytesIO()
        np.save(content, values)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getvalue())
    return analysis.store.place(path)
