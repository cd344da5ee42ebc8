"""A task: units of work that are planned, done and retried together; doing it, and about how long it takes.

A task is data alone, so it travels to any process.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.models import build_model, design_size
from stmbench.analyses.options import ImageOptions, Options, RunSettings
from stmbench.analyses.unit import Counted
from stmbench.architectures.detectors.base import sides_of
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.sets import open_set
from stmbench.errors import StmbenchError
from stmbench.experiments.steps import Step
from stmbench.plugins import load_plugins
from stmbench.tables import Store
from stmbench.tasks.base import open_data, task_name
from stmbench.training.analysis import Training
from stmbench.training.distributed import ProcessGroup
from stmbench.training.settings import TrainingSettings
from stmbench.training.state import RunFolder

START_S = 1.0  # of any task
TRY_S, BATCH = 0.4, 32  # seconds and images of a measured speed


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


def analysis_of(task: Task, folder: Path, listener: Listener | None = None) -> Analysis:
    """The analysis that a task stands for. Raises what its config and its data raise."""
    store = Store(folder)
    if task.step is None:
        return Training(task.runs, store, group=ProcessGroup(device=torch.device(task.device)), listener=listener)
    settings = RunSettings(
        models=task.models,
        checkpoints={model: Path(file) for model, file in weights_of(task, folder).items()},
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


def weights_of(task: Task, folder: Path) -> dict[str, str]:
    """model -> checkpoint; of trained weights the place where they are, or will be."""
    checkpoints = dict(task.files)
    for run in task.runs if task.step is not None else ():
        kept = Training([run], Store(folder)).folder(run)
        path = kept.result if task.epoch is None else _epoch_file(kept, task.epoch)
        checkpoints[run.model] = str(path)
    return checkpoints


def is_done(task: Task, folder: Path) -> bool:
    """Whether the store has all of a task."""
    if task.missing or not (folder / "parts").is_dir():
        return False
    if not all(Path(file).is_file() for file in weights_of(task, folder).values()):
        return False
    try:
        analysis = analysis_of(task, folder)
        return analysis.is_complete() and _has_epochs(task, analysis)
    except StmbenchError:
        return False


def _epoch_file(folder: RunFolder, epoch: int) -> Path:
    return folder.path / f"epoch-{epoch:04d}.safetensors"


def _has_epochs(task: Task, analysis: Analysis) -> bool:
    """Whether a finished training left the epochs' weights that are wanted now: what it keeps is no part of its key."""
    if not isinstance(analysis, Training):
        return True
    for run in task.runs:
        if run.keep_every and analysis.is_done(analysis.unit_of(run)):
            epochs = range(run.keep_every, run.recipe.epochs + 1, run.keep_every)
            if not all(_epoch_file(analysis.folder(run), epoch).is_file() for epoch in epochs):
                return False
    return True


def threads_of_tasks(workers: int) -> int:
    """How many threads each of so many workers has; a single one is this process, which has its own number."""
    return torch.get_num_threads() if workers == 1 else max(1, (os.cpu_count() or 1) // workers)


class Estimator:
    """About how long tasks take: their forward passes, at the speed at which one model runs here and now.

    The speed of each model is measured once, on blank images of the design size, with a task's threads.
    """

    def __init__(self, device: str, threads: int) -> None:
        self._device, self._threads = device, threads
        self._speeds: dict[str, float] = {}

    def seconds(self, task: Task) -> float | None:
        """Of a task; None where that cannot be told (data are missing, or the GPU is another machine's)."""
        if self._device.startswith("cuda") and not torch.cuda.is_available():
            return None
        if task.step is not None and len(task.models) > 1 and task.step.kind.combines:
            return START_S  # compares what others measured
        try:
            return START_S + self._seconds(task)
        except KeyboardInterrupt:
            raise
        except BaseException:  # the task will meet it again, and report it
            return None

    def of_options(self, options: Options, run: RunSettings) -> float:
        """Of an analysis of models. Raises what its images raise."""
        images = images_of(options, run.models, run.seed)
        return START_S + options.seconds(len(run.models), images, lambda: self.speed(run.models[0]))

    def of_training(self, run: TrainingSettings) -> float:
        """Of one training. Raises what its data raise."""
        data = open_data(run)
        passes = run.recipe.passes(design_size(run.model)[0])
        return run.recipe.epochs * (passes * len(data.chosen) + len(data.test)) / self.speed(run.model)

    def _seconds(self, task: Task) -> float:
        def speed() -> float:
            return self.speed(task.models[0])

        if task.step is None:
            return self.of_training(task.runs[0])
        options = options_of(task)
        images = images_of(options, task.models, task.seed)
        return options.seconds(len(task.models), images, speed)

    def speed(self, model: str) -> float:
        """Images a second of a forward pass."""
        if model not in self._speeds:
            self._speeds[model] = _measured(model, self._device, self._threads)
        return self._speeds[model]


def images_of(options: Options, models: Sequence[str], seed: int) -> int:
    """How many images an analysis shows to each of these models. Raises what its set raises."""
    if not isinstance(options, ImageOptions):
        return 0
    if options.num_images is not None:
        return options.num_images
    detect = any(task_name(model) == "detection" for model in models)
    open_images = open_detection_set if detect else open_set
    return len(open_images(options.dataset, split=options.split, seed=seed))


def estimate(options: Options, run: RunSettings, runs: Sequence[TrainingSettings] = ()) -> float | None:
    """About how many seconds an analysis, or `runs`, take in this process; None where that cannot be told."""
    try:
        estimator = Estimator(run.device, torch.get_num_threads())
        return sum(map(estimator.of_training, runs)) if runs else estimator.of_options(options, run)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the analysis will meet it again, and report it
        return None


def _measured(model: str, device: str, threads: int) -> float:
    """Images a second, with the threads that a task will have."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _timed(model, device)
    finally:
        torch.set_num_threads(before)


def _timed(model: str, device: str) -> float:
    built = build_model(model, seed=0, device=device)
    height, width = (sides_of(built)[0],) * 2 if task_name(model) == "detection" else design_size(model)
    images = torch.zeros(BATCH if height <= 64 else 1, 3, height, width, device=device)
    with torch.inference_mode():
        built(images)
        began, count = time.monotonic(), 0
        while not count or time.monotonic() - began < TRY_S:
            built(images)  # a detector takes a batch as it takes a list
            count += 1
            if device.startswith("cuda"):
                torch.cuda.synchronize()
    return count * len(images) / (time.monotonic() - began)


def total(tasks: Sequence[Task], estimates: Mapping[str, float | None], workers: int) -> float:
    """Seconds for all tasks with so many workers; what cannot be told counts nothing."""
    alone = sum(estimates[task.name] or 0.0 for task in tasks if task.alone)
    shared = sum(estimates[task.name] or 0.0 for task in tasks if not task.alone)
    return alone + shared / max(1, workers)
