"""A task: units of work that are planned, done and retried together; doing it, and whether it is done.

A task is data alone, so it travels to any process. Planning makes tasks without model code, which takes seconds to
import: what does them is imported by who does them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stmbench.analyses.options import Options, RunSettings
from stmbench.analyses.unit import Counted
from stmbench.errors import StmbenchError
from stmbench.experiments.steps import Step
from stmbench.plugins import load_plugins
from stmbench.training.settings import TrainingSettings

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.training.state import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Training of one run, where `step` is None, or one analysis of models.

    Attributes:
        runs: the run to train; or those whose weights the models take, one for each model, none for other weights.
        files: model -> checkpoint, for weights that the user has.
        epoch: of training, for weights of another epoch than the last.
        needs: names of the tasks that have to be done before.
        alone: nothing else may run on this machine meanwhile.
        missing: what this machine lacks for it, in words, with the remedy.
    """

    name: str
    step: Step | None
    models: tuple[str, ...]
    seed: int
    runs: tuple[TrainingSettings, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    epoch: int | None = None
    dataset: str = "photos"
    split: str = "test"
    device: str = "cpu"
    control: str | None = None
    plugins: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    alone: bool = False
    missing: str | None = None
    fresh: bool = False  # measured again, whatever the store has

    @property
    def title(self) -> str:
        """What it is, without its models."""
        return "train" if self.step is None else self.step.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskResult(Counted):
    """The outcome of a task."""

    name: str
    made: tuple[str, ...]  # keys of the units of work that it measured
    reused: tuple[str, ...]  # of those that the store had: from before the run, or from another task of it
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    keys: tuple[str, ...]  # of the parts it stands on
    seconds: float


def execute(task: Task, folder: Path, *, listener: Listener | None = None) -> TaskResult:
    """Do what of the task the store does not have.

    Raises:
        StmbenchError: a task that cannot be begun; what fails within is in the result.
    """
    began = time.monotonic()
    load_plugins([Path(name) for name in task.plugins])
    analysis = analysis_of(task, folder, listener)
    report = analysis.run(fresh=task.fresh or not _has_epochs(task, analysis))
    return TaskResult(
        name=task.name,
        made=tuple(report.made),
        reused=tuple(report.reused),
        failures=tuple(report.failures),
        warnings=tuple(report.warnings),
        keys=tuple(report.keys),
        seconds=time.monotonic() - began,
    )


def analysis_of(
    task: Task, folder: Path, listener: Listener | None = None, weights: TrainedWeights | None = None
) -> Analysis:
    """The analysis that a task stands for. Raises what its config and its data raise."""
    from stmbench.tables import Store
    from stmbench.tables.addresses import fetched

    store = Store(folder)
    if task.step is None:
        import torch

        from stmbench.training.analysis import Training
        from stmbench.training.distributed import ProcessGroup

        return Training(task.runs, store, group=ProcessGroup(device=torch.device(task.device)), listener=listener)
    settings = RunSettings(
        models=task.models,
        checkpoints={model: fetched(Path(file)) for model, file in weights_of(task, folder, weights).items()},
        seed=task.seed,
        device=task.device,
        control=task.control,
        plugins=task.plugins,
    )
    return options_of(task).analysis(settings, store, listener)


def options_of(task: Task) -> Options:
    """The options of a task's analysis, on the task's data set."""
    assert task.step is not None
    images = {"dataset": task.dataset, "split": task.split} if task.step.kind.needs_images else {}
    return dataclasses.replace(task.step, given={**task.step.given, **images}).options()


class TrainedWeights:
    """Where the trainings of a store leave their weights; found once for each, as each analysis of them asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[TrainingSettings, RunFolder] = {}

    def folder(self, run: TrainingSettings) -> RunFolder:
        """The folder of a training. Raises what its config and its data raise."""
        from stmbench.tables import Store
        from stmbench.training.analysis import Training

        if run not in self._known:
            self._known[run] = Training([run], Store(self._folder)).folder(run)
        return self._known[run]


def weights_of(task: Task, folder: Path, trained: TrainedWeights | None = None) -> dict[str, str]:
    """model -> checkpoint; of trained weights the place where they are, or will be."""
    checkpoints = dict(task.files)
    if task.step is None or not task.runs:
        return checkpoints
    trained = trained or TrainedWeights(folder)
    for run in task.runs:
        kept = trained.folder(run)
        path = kept.result if task.epoch is None else _epoch_file(kept, task.epoch)
        checkpoints[run.model] = str(path)
    return checkpoints


def is_done(task: Task, folder: Path, trained: TrainedWeights | None = None) -> bool:
    """Whether the store has all of a task."""
    if task.missing or not (folder / "parts").is_dir():
        return False
    from stmbench.tables.addresses import is_there

    trained = trained or TrainedWeights(folder)
    if not all(is_there(Path(file)) for file in weights_of(task, folder, trained).values()):
        return False
    try:
        analysis = analysis_of(task, folder, weights=trained)
        return analysis.is_complete() and _has_epochs(task, analysis)
    except StmbenchError:
        return False


def _epoch_file(folder: RunFolder, epoch: int) -> Path:
    return folder.path / f"epoch-{epoch:04d}.safetensors"


def _has_epochs(task: Task, analysis: Analysis) -> bool:
    """Whether a finished training left the epochs' weights that are wanted now: what it keeps is no part of its key."""
    if task.step is not None:
        return True
    from stmbench.tables.addresses import is_there
    from stmbench.training.analysis import Training

    assert isinstance(analysis, Training)
    for run in task.runs:
        if run.keep_every and analysis.is_done(analysis.unit_of(run)):
            epochs = range(run.keep_every, run.recipe.epochs + 1, run.keep_every)
            if not all(is_there(_epoch_file(analysis.folder(run), epoch)) for epoch in epochs):
                return False
    return True
