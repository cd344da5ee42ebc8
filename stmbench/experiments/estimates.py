"""How long tasks will take, about: their forward passes, at the speed that one model runs at here and now."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch

from stmbench.analyses.models import build_model, design_size
from stmbench.analyses.options import ImageOptions
from stmbench.data.sets import open_set
from stmbench.experiments.execution import options_of
from stmbench.experiments.tasks import Task
from stmbench.training.data import open_data

TRAINING_PASSES = 3.0  # forward, and twice that backward
START_S = 1.0  # of any task
TRY_S = 0.4
BATCH = 8


class Estimator:
    """Estimates from models' speeds, each measured once, on blank images of the design size, with a task's threads."""

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

    def _seconds(self, task: Task) -> float:
        def speed() -> float:
            return self.speed(task.models[0])

        if task.step is None:
            (run,) = task.runs
            data = open_data(run)
            return run.recipe.epochs * (TRAINING_PASSES * len(data.chosen) + len(data.test)) / speed()
        options, images = options_of(task), 0
        if isinstance(options, ImageOptions):
            images = options.num_images or len(open_set(options.dataset, split=options.split, seed=task.seed))
        return options.seconds(len(task.models), images, speed)

    def speed(self, model: str) -> float:
        """Images a second of a forward pass."""
        if model not in self._speeds:
            self._speeds[model] = _measured(model, self._device, self._threads)
        return self._speeds[model]


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
    height, width = design_size(model)
    images = torch.zeros(BATCH if height <= 64 else 1, 3, height, width, device=device)
    with torch.inference_mode():
        built(images)
        began, count = time.monotonic(), 0
        while not count or time.monotonic() - began < TRY_S:
            built(images)
            count += 1
            if device.startswith("cuda"):
                torch.cuda.synchronize()
    return count * len(images) / (time.monotonic() - began)


def total(tasks: Sequence[Task], estimates: Mapping[str, float | None], workers: int) -> float:
    """Seconds for all tasks with so many workers; what cannot be told counts nothing."""
    alone = sum(estimates[task.name] or 0.0 for task in tasks if task.alone)
    shared = sum(estimates[task.name] or 0.0 for task in tasks if not task.alone)
    return alone + shared / max(1, workers)
