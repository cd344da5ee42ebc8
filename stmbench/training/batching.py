"""Which images a step takes, in every process, and the loader that brings them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data.distributed import DistributedSampler

from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError
from stmbench.training.data import TrainingData
from stmbench.training.distributed import World
from stmbench.training.images import Key, TrainingImages
from stmbench.training.seeds import order_seed
from stmbench.training.settings import TrainingSettings


class Places(Sampler[Key]):
    """This process's share of an epoch's order, from step `start` on: torch's `DistributedSampler`, with the epoch.

    Every process of `world` takes each world-th image of one common order, so the images of a step are the same for
    any number of processes. Images beyond a whole number of steps are left out of this epoch.
    """

    def __init__(self, images: TrainingImages, *, batch: int, world: int, rank: int, seed: int) -> None:
        self._sampler: DistributedSampler[Any] = DistributedSampler(
            images, world, rank, shuffle=True, seed=order_seed(seed), drop_last=True
        )
        self.local = batch // world
        self.steps = len(images) // batch
        self.epoch, self.start = 0, 0

    def __iter__(self) -> Iterator[Key]:
        self._sampler.set_epoch(self.epoch)
        order = list(self._sampler)[self.start * self.local : self.steps * self.local]
        return iter([(self.epoch, place) for place in order])

    def __len__(self) -> int:
        return (self.steps - self.start) * self.local


def training_batches(
    settings: TrainingSettings, data: TrainingData, preprocessing: Preprocessing, world: World
) -> tuple[Places, DataLoader[tuple[Tensor, int, int]]]:
    """The order of the images, and batches of (B, 3, H, W), (B,) labels, (B,) flags that follow it.

    A batch is what one process takes for one backward pass.

    Raises:
        ConfigError: a batch that cannot be divided over processes and passes, or is odd where images are mixed.
    """
    recipe, parts = settings.recipe, world.size * settings.accumulate
    if recipe.batch_size % parts:
        got = f"{recipe.batch_size} over {world.size} processes and {settings.accumulate} passes"
        raise ConfigError("a batch size that can be divided", got, "change --batch-size or --accumulate")
    batch = recipe.batch_size // parts
    if recipe.mixes and batch % 2:
        raise ConfigError("an even batch where images are mixed", f"{batch}", "change --batch-size or --accumulate")
    images = TrainingImages(data.train, data.chosen, recipe, preprocessing, settings.seed)
    places = Places(images, batch=recipe.batch_size, world=world.size, rank=world.rank, seed=settings.seed)
    loader: DataLoader[tuple[Tensor, int, int]] = DataLoader(
        images,
        batch_size=batch,
        sampler=places,
        num_workers=settings.workers,
        pin_memory=world.device.type == "cuda",
        persistent_workers=settings.workers > 0,
        drop_last=True,
    )
    return places, loader


def grouped(
    batches: Iterable[tuple[Tensor, Tensor, Tensor]], count: int
) -> Iterator[tuple[list[Tensor], list[Tensor], int]]:
    """The images and labels of each step, `count` batches; and how many of the images could not be read."""
    images, labels, damaged = [], [], 0
    for x, y, flags in batches:
        images.append(x)
        labels.append(y)
        damaged += int(flags.sum())
        if len(images) == count:
            yield images, labels, damaged
            images, labels, damaged = [], [], 0
