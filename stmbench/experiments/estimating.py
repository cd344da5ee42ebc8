"""About how long tasks take: their forward passes, at the speed of each model, measured or written down."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Mapping, Sequence

from stmbench.analyses.options import ImageOptions, Options, RunSettings
from stmbench.architectures import listing
from stmbench.architectures.model_names import ModelName
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.sets import IMAGES, is_embedded, open_set
from stmbench.experiments.remembered import remembered
from stmbench.experiments.tasks import Task, options_of
from stmbench.training.recipe import Recipe
from stmbench.training.settings import TrainingSettings

START_S = 1.0  # of any task
TRY_S, BATCH = 0.4, 32  # seconds and images of a measured speed


def threads_of_tasks(workers: int) -> int:
    """How many threads each of so many workers has; a single one is this process, which has its own number."""
    if workers > 1:
        return max(1, (os.cpu_count() or 1) // workers)
    import torch

    return torch.get_num_threads()


class Estimator:
    """About how long tasks take: their forward passes, at the speed at which one model runs here and now.

    The speed of each model is measured once, on blank images of the design size, with a task's threads.
    """

    def __init__(self, device: str, threads: int) -> None:
        self._device, self._threads = device, threads
        self._speeds: dict[str, float] = {}
        self._sides: dict[str, int] = {}

    def seconds(self, task: Task) -> float | None:
        """Of a task; None where that cannot be told (data are missing, or the GPU is another machine's)."""
        if not self._can_run():
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
        images = self._images(options, run.models, run.seed)
        return START_S + options.seconds(len(run.models), images, lambda: self.speed(run.models[0]))

    def of_training(self, run: TrainingSettings) -> float:
        """Of one training. Raises what its data raise."""
        passes, train, test = self._training_passes(run)
        return run.recipe.epochs * (passes * train + test) / self.speed(run.model)

    def speed(self, model: str) -> float:
        """Images a second of a forward pass."""
        if model not in self._speeds:
            setting = f"{model} {self._device} {self._threads}"
            measured = functools.partial(_measured, model, self._device, self._threads)
            self._speeds[model] = remembered("speed", setting, measured, of_machine=True)
        return self._speeds[model]

    def _can_run(self) -> bool:
        if not self._device.startswith("cuda"):
            return True
        import torch

        return torch.cuda.is_available()

    def _images(self, options: Options, models: Sequence[str], seed: int) -> int:
        return images_of(options, models, seed)

    def _training_passes(self, run: TrainingSettings) -> tuple[float, int, int]:
        """Passes for an image, and how many images there are to train on and to test with."""
        if run.model not in self._sides:
            self._sides[run.model] = remembered("side", run.model, functools.partial(_side, run.model))
        sizes = functools.partial(_sizes, run)
        if is_embedded(run.dataset):
            asked = (run.recipe.task, run.dataset, run.train_split, run.test_split, run.data_fraction, run.seed)
            train, test = remembered("training images", " ".join(map(str, asked)), sizes)
        else:
            train, test = sizes()
        return run.recipe.passes(self._sides[run.model]), train, test

    def _seconds(self, task: Task) -> float:
        def speed() -> float:
            return self.speed(task.models[0])

        if task.step is None:
            return self.of_training(task.runs[0])
        options = options_of(task)
        return options.seconds(len(task.models), self._images(options, task.models, task.seed), speed)


class RecordedEstimator(Estimator):
    """About how long tasks take, from what is written down of models and embedded sets, without model code.

    Raises LookupError, by all of its methods, for what is not written down.
    """

    def seconds(self, task: Task) -> float | None:
        if task.step is not None and len(task.models) > 1 and task.step.kind.combines:
            return START_S
        return START_S + self._seconds(task)

    def speed(self, model: str) -> float:
        return self._threads / listing.seconds_of(model)

    def _images(self, options: Options, models: Sequence[str], seed: int) -> int:
        if not isinstance(options, ImageOptions):
            return 0
        return options.num_images or IMAGES[options.dataset][options.split]

    def _training_passes(self, run: TrainingSettings) -> tuple[float, int, int]:
        if type(run.recipe) is not Recipe:
            raise LookupError(run.recipe.task)  # its passes depend on the model's size
        train, test = IMAGES[run.dataset][run.train_split], IMAGES[run.dataset][run.test_split]
        return run.recipe.passes(0), round(run.data_fraction * train), test


def images_of(options: Options, models: Sequence[str], seed: int) -> int:
    """How many images an analysis shows to each of these models. Raises what its set raises."""
    if not isinstance(options, ImageOptions):
        return 0
    if options.num_images is not None:
        return options.num_images
    detect = any(ModelName.parse(model).detector is not None for model in models)

    def count() -> int:
        open_images = open_detection_set if detect else open_set
        return len(open_images(options.dataset, split=options.split, seed=seed))

    if not is_embedded(options.dataset):
        return count()
    counted: int = remembered("images", f"{options.dataset} {options.split} {seed} {detect}", count)
    return counted


def _side(model: str) -> int:
    from stmbench.analyses.models import design_size

    return design_size(model)[0]


def _sizes(run: TrainingSettings) -> list[int]:
    """How many images there are to train on, and to test with."""
    from stmbench.tasks.base import open_data

    data = open_data(run)
    return [len(data.chosen), len(data.test)]


def estimate(options: Options, run: RunSettings, runs: Sequence[TrainingSettings] = ()) -> float | None:
    """About how many seconds an analysis, or `runs`, take in this process; None where that cannot be told."""
    threads = threads_of_tasks(1)
    try:
        with contextlib.suppress(LookupError):  # a model, or a set, of which nothing is written down
            if run.device == "cpu":
                return _estimate(RecordedEstimator(run.device, threads), options, run, runs)
        return _estimate(Estimator(run.device, threads), options, run, runs)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the analysis will meet it again, and report it
        return None


def _estimate(estimator: Estimator, options: Options, run: RunSettings, runs: Sequence[TrainingSettings]) -> float:
    return sum(map(estimator.of_training, runs)) if runs else estimator.of_options(options, run)


def _measured(model: str, device: str, threads: int) -> float:
    """Images a second, with the threads that a task will have."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _timed(model, device)
    finally:
        torch.set_num_threads(before)


def _timed(model: str, device: str) -> float:
    import torch

    from stmbench.analyses.models import build_model, design_size
    from stmbench.architectures.detectors.base import sides_of

    built = build_model(model, seed=0, device=device)
    detects = ModelName.parse(model).detector is not None
    height, width = (sides_of(built)[0],) * 2 if detects else design_size(model)
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
