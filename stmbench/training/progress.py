"""Where a run stands and what it has seen: everything that is written down about it, epoch by epoch.

`progress.json` in a run's folder says so to other programs during the run, such as `stmbench watch`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from stmbench.analyses.registry import metric
from stmbench.errors import MissingPackageError, OutputError, UnitError
from stmbench.tables.files import PROGRESS, write_file
from stmbench.training.settings import TrainingSettings


@dataclasses.dataclass(kw_only=True)
class Epoch:
    """One epoch. `step` counts the optimiser's steps since the beginning; `seconds` are those of training alone."""

    epoch: int
    step: int
    loss: float
    learning_rate: float
    images: int
    seconds: float
    scores: dict[str, float]  # by metric, the task's headline first
    test_images: int
    low: float | None = None  # ends of the headline's interval
    high: float | None = None
    raw: float | None = None  # of the last epoch: the weights' own headline, where `scores` are their average's

    @property
    def headline(self) -> tuple[str, float]:
        """The task's metric, and its value."""
        return next(iter(self.scores.items()))


@dataclasses.dataclass(kw_only=True)
class Record:
    """The run so far: `epoch` is the one that is under way, `within` its steps that are done."""

    epoch: int = 0
    within: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)  # one a step, the mean over all processes
    rates: list[float] = dataclasses.field(default_factory=list)
    epochs: list[Epoch] = dataclasses.field(default_factory=list)
    seconds: float = 0.0  # of the epoch under way
    total_seconds: float = 0.0  # of everything, evaluations and savings included
    best: float = -1.0
    damaged: int = 0  # images of the epoch under way that could not be read

    def plain(self) -> dict[str, Any]:
        """What a state file holds."""
        fields = dataclasses.asdict(self)
        for name in ("losses", "rates"):
            fields[name] = torch.tensor(fields[name], dtype=torch.float64)
        return fields

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Record:
        """The record in a state file."""
        changed = {name: fields[name].tolist() for name in ("losses", "rates")}
        return cls(**{**fields, **changed, "epochs": [Epoch(**epoch) for epoch in fields["epochs"]]})


def words(settings: TrainingSettings, record: Record) -> str:
    """What is being done, for a progress display."""
    text = f"training {settings.model}, epoch {record.epoch + 1} of {settings.recipe.epochs}"
    if not record.epochs:
        return text
    name, value = record.epochs[-1].headline
    known = metric(name)
    return f"{text}, {name if known is None else known.title} {value:.1%}"


WINDOWS: Final = 200  # of steps, whose mean losses are points of the curve


def write_progress(folder: Path, record: Record, epochs: int, steps: int, about: Mapping[str, Any]) -> None:
    """Write where the run stands. A file that cannot be written is left out: it must not end a training.

    Args:
        epochs, steps: of the whole run, and of one epoch.
        about: key, columns and mixers, as the run's part will have them.
    """
    size = max(1, math.ceil(len(record.losses) / WINDOWS))
    windows = (record.losses[start : start + size] for start in range(0, len(record.losses), size))
    content = {
        **about,
        "version": 2,
        "written": time.time(),
        "epochs": epochs,
        "done": len(record.losses) / (steps * epochs),
        "seconds": record.total_seconds + record.seconds,
        # (place in epochs, value)
        "train_loss": [
            [min(len(record.losses), (number + 1) * size) / steps, math.fsum(losses) / len(losses)]
            for number, losses in enumerate(windows)
        ],
        "scores": [[epoch.epoch + 1, epoch.headline[1]] for epoch in record.epochs],
        "headline": record.epochs[-1].headline[0] if record.epochs else None,
    }
    with contextlib.suppress(OutputError):
        write_file(folder / PROGRESS, json.dumps(content))


def require_finite(value: float, name: str, place: str) -> None:
    """Raise UnitError for a value that is not finite, with the place in the run where it was seen."""
    if not math.isfinite(value):
        remedy = "lower lr, lengthen the warm-up or clip gradients"
        raise UnitError(f"{name} is {value} at {place}; {remedy}")


class Board:
    """Writes one point for each epoch. Raises MissingPackageError where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        require_board()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, epoch: Epoch) -> None:
        """The epoch's numbers at its step."""
        numbers = {
            "train/loss": epoch.loss,
            "train/learning_rate": epoch.learning_rate,
            "train/images_per_second": epoch.images / max(epoch.seconds, 1e-9),
            **{f"test/{name.removeprefix('test_')}": value for name, value in epoch.scores.items()},
        }
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch.step)
        self._writer.flush()


def require_board() -> None:
    """Raise MissingPackageError unless TensorBoard can be imported."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("TensorBoard", "--tensorboard", "tensorboard") from error
