"""The order of a run's images as a function of the place in the run, their batches, and a batch that they fill."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, cast

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.distributed import DistributedSampler

from stmbench.errors import ConfigError
from stmbench.training.distributed import ProcessGroup
from stmbench.training.settings import TrainingSettings, order_seed

Key = tuple[int, int]  # epoch, place among the chosen images


class Places(Sampler[Key]):
    """This process's share of an epoch's order, from step `start` on: torch's `DistributedSampler`, with the epoch.

    Each of `processes` takes every processes-th image of one common order, so the images of a step are the same for
    any number of processes. Images beyond a whole number of steps are left out of this epoch.
    """

    def __init__(self, images: Sized, *, batch: int, processes: int, rank: int, seed: int) -> None:
        self._sampler: DistributedSampler[Any] = DistributedSampler(
            cast("Dataset[Any]", images), processes, rank, shuffle=True, seed=order_seed(seed), drop_last=True
        )
        self.local = batch // processes
        self.steps = len(images) // batch
        self.epoch, self.start = 0, 0

    def __iter__(self) -> Iterator[Key]:
        self._sampler.set_epoch(self.epoch)
        order = list(self._sampler)[self.start * self.local : self.steps * self.local]
        return iter([(self.epoch, place) for place in order])

    def __len__(self) -> int:
        return (self.steps - self.start) * self.local


def require_divisible_batch(settings: TrainingSettings, processes: int) -> None:
    """Raise ConfigError unless a step divides over processes and passes, into even parts where images are mixed."""
    recipe, parts = settings.recipe, processes * settings.accumulate
    if recipe.batch_size % parts:
        got = f"{recipe.batch_size} over {processes} processes and {settings.accumulate} passes"
        raise ConfigError("a batch size that can be divided", got, "change --batch-size or --accumulate")
    batch = recipe.batch_size // parts
    if recipe.mixes and batch % 2:
        raise ConfigError("an even batch where images are mixed", f"{batch}", "change --batch-size or --accumulate")


def training_batches(
    settings: TrainingSettings,
    images: Dataset[Any],
    places: Sampler[Key],
    group: ProcessGroup,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """Batches of (inputs, targets, (B,) flags) in the order of `places`: what one process takes for a backward pass."""
    return DataLoader(
        images,
        batch_size=settings.recipe.batch_size // (group.size * settings.accumulate),
        sampler=places,
        num_workers=settings.workers,
        collate_fn=collate,
        pin_memory=group.device.type == "cuda",
        persistent_workers=settings.workers > 0,
        drop_last=True,
    )


def grouped(batches: Iterable[tuple[Any, Any, Tensor]], count: int) -> Iterator[tuple[list[tuple[Any, Any]], int]]:
    """The inputs and targets of each step, `count` batches; and how many of the images could not be read."""
    passes, damaged = list[tuple[Any, Any]](), 0
    for inputs, targets, flags in batches:
        passes.append((inputs, targets))
        damaged += int(flags.sum())
        if len(passes) == count:
            yield passes, damaged
            passes, damaged = [], 0


def with_fitting_batch(settings: TrainingSettings, images: int, processes: int) -> TrainingSettings:
    """The run with a batch that so many images fill: one step an epoch where they are fewer than the recipe's batch.

    The learning rate falls with the batch, as the recipe scales it.

    Raises:
        ConfigError: fewer images than there are processes and passes; where images are mixed, twice as many.
    """
    recipe = settings.recipe
    if recipe.batch_size <= images:
        return settings
    smallest = processes * settings.accumulate * (2 if recipe.mixes else 1)
    batch = images // smallest * smallest
    if not batch:
        remedy = "train on more images, or with --set mixup=0 --set cutmix=0 and fewer passes"
        raise ConfigError(f"at least {smallest} images to train on", str(images), remedy)
    return dataclasses.replace(settings, recipe=dataclasses.replace(recipe, batch_size=batch))


def batch_remark(asked: TrainingSettings, run: TrainingSettings) -> str | None:
    """What the smaller batch changes, as a sentence; None where nothing was changed."""
    if asked.recipe.batch_size == run.recipe.batch_size:
        return None
    batch, rate = run.recipe.batch_size, run.recipe.scaled_lr
    fewer = f"fewer images than the batch of {asked.recipe.batch_size}"
    return f"{run.model}: {fewer}, trained in batches of {batch} with a learning rate of {rate:.2g}"
