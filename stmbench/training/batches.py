"""The order of a run's images as a function of the place in the run, their batches, and a batch that they fill."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate
from torch.utils.data.distributed import DistributedSampler

from stmbench.errors import ConfigError
from stmbench.training.distributed import ProcessGroup
from stmbench.training.settings import TrainingSettings, order_seed

Key = tuple[int, int]  # epoch, place among the chosen images
Blocks = tuple[NDArray[np.int64], int]  # the images' blocks by number, and how many are kept in memory


class Places(Sampler[Key]):
    """This process's share of an epoch's order, from step `start` on: torch's `DistributedSampler`, with the epoch.

    Each of `processes` takes every processes-th image of one common order, so the images of a step are the same for
    any number of processes. Images beyond a whole number of steps are left out of this epoch.

    Images that are read in `blocks` are shuffled twice: the blocks, and then the images of as many as are kept.
    """

    def __init__(
        self, images: Sized, *, batch: int, processes: int, rank: int, seed: int, blocks: Blocks | None = None
    ) -> None:
        self._sampler: DistributedSampler[Any] = DistributedSampler(
            cast("Dataset[Any]", images), processes, rank, shuffle=True, seed=order_seed(seed), drop_last=True
        )
        self.local = batch // processes
        self.steps = len(images) // batch
        self.epoch, self.start = 0, 0
        self._blocks, self._seed, self._own = blocks, seed, slice(rank, None, processes)

    def __iter__(self) -> Iterator[Key]:
        self._sampler.set_epoch(self.epoch)
        order = list(self._sampler) if self._blocks is None else self._by_block(*self._blocks)[self._own].tolist()
        return iter([(self.epoch, place) for place in order[self.start * self.local : self.steps * self.local]])

    def _by_block(self, numbers: NDArray[np.int64], kept: int) -> NDArray[np.int64]:
        """All places of the epoch in order; those of `kept` blocks, drawn by lot, are next to one another."""
        random = np.random.default_rng((order_seed(self._seed), self.epoch))
        found, block = np.unique(numbers, return_inverse=True)
        together = random.permutation(len(found))[block] // kept
        return np.lexsort((random.random(len(numbers)), together))

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
) -> Iterable[tuple[Any, Any, Tensor]]:
    """Batches of (inputs, targets, (B,) flags) in the order of `places`: what one process takes for a backward pass."""
    workers, on_gpu = settings.workers or 0, group.device.type == "cuda"
    batch = settings.recipe.batch_size // (group.size * settings.accumulate)
    if not workers and not on_gpu:
        return InProcess(images, places, batch, collate or default_collate)
    return DataLoader(
        images,
        batch_size=batch,
        sampler=places,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
        drop_last=True,
    )


@dataclasses.dataclass(frozen=True)
class InProcess:
    """Batches made when it is their turn: those of torch's loader without workers, without its 0.2 ms for each."""

    images: Any
    places: Iterable[Key]
    batch: int
    collate: Callable[[list[Any]], Any]

    def __iter__(self) -> Iterator[tuple[Any, Any, Tensor]]:
        places = iter(self.places)
        while len(keys := [*itertools.islice(places, self.batch)]) == self.batch:
            whole = hasattr(self.images, "__getitems__")
            yield self.collate(self.images.__getitems__(keys) if whole else [self.images[key] for key in keys])


def staged(
    batches: Iterable[tuple[Any, Any, Tensor]],
    stage: Callable[[Any, Any], tuple[Any, Any]],
    device: torch.device,
) -> Iterator[tuple[Any, Any, Tensor]]:
    """The batches as `stage` makes them; on a GPU one ahead of the step that runs, on a stream of their own."""
    if device.type != "cuda":
        for inputs, targets, flags in batches:
            yield *stage(inputs, targets), flags
        return
    beside, ready = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]
    for inputs, targets, flags in batches:
        with torch.cuda.stream(beside):
            following = (*stage(inputs, targets), flags), beside.record_event()
        if ready is not None:
            yield _handed(*ready, device)
        ready = following
    if ready is not None:
        yield _handed(*ready, device)


def _handed(batch: Any, event: torch.cuda.Event, device: torch.device) -> Any:
    """The batch, for the stream of the step, which waits until it is there."""
    stream = torch.cuda.current_stream(device)
    stream.wait_event(event)
    tree_map_only(Tensor, lambda part: part.record_stream(stream) if part.is_cuda else None, batch)
    return batch


def grouped(batches: Iterable[tuple[Any, Any, Tensor]], count: int) -> Iterator[tuple[list[tuple[Any, Any]], int]]:
    """The inputs and targets of each step, `count` batches; and how many of the images could not be read."""
    passes, damaged = list[tuple[Any, Any]](), 0
    for inputs, targets, flags in batches:
        passes.append((inputs, targets))
        damaged += int(flags.sum())
        if len(passes) == count:
            yield passes, damaged
            passes, damaged = [], 0


MOST_WORKERS = 16  # of a process that trains: more decode faster than any one device learns
FEW_IMAGES = 1_000  # are decoded before processes for it have started


def decoding_workers(images: int, *, embedded: bool, device: torch.device) -> int:
    """Processes that decode ahead, so many that none takes a core from the training itself.

    Embedded images are kept decoded in the process that trains. On a CPU there are as many as cores that torch's
    threads leave, on a GPU all cores but one; several training processes of a machine share its cores.
    """
    if embedded or images < FEW_IMAGES:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(MOST_WORKERS, share - (1 if device.type == "cuda" else torch.get_num_threads())))


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
