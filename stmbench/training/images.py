"""Training images: augmented by timm's transforms; their order and randomness are functions of the place in the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from PIL import Image
from timm.data import auto_augment
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.distributed import DistributedSampler
from torchvision import transforms

from stmbench.data.image_set import ImageSet
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, ImageError
from stmbench.training.data import TrainingData
from stmbench.training.distributed import ProcessGroup
from stmbench.training.recipe import Recipe
from stmbench.training.settings import TrainingSettings, order_seed, seed_at

Key = tuple[int, int]  # epoch, place among the chosen images


class Places(Sampler[Key]):
    """This process's share of an epoch's order, from step `start` on: torch's `DistributedSampler`, with the epoch.

    Each of `processes` takes every processes-th image of one common order, so the images of a step are the same for
    any number of processes. Images beyond a whole number of steps are left out of this epoch.
    """

    def __init__(self, images: TrainingImages, *, batch: int, processes: int, rank: int, seed: int) -> None:
        self._sampler: DistributedSampler[Any] = DistributedSampler(
            images, processes, rank, shuffle=True, seed=order_seed(seed), drop_last=True
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


def training_batches(
    settings: TrainingSettings, data: TrainingData, preprocessing: Preprocessing, group: ProcessGroup
) -> tuple[Places, DataLoader[tuple[Tensor, int, int]]]:
    """The order of the images, and batches of (B, 3, H, W), (B,) labels, (B,) flags that follow it.

    A batch is what one process takes for one backward pass.

    Raises:
        ConfigError: a batch that cannot be divided over processes and passes, or is odd where images are mixed.
    """
    recipe, parts = settings.recipe, group.size * settings.accumulate
    if recipe.batch_size % parts:
        got = f"{recipe.batch_size} over {group.size} processes and {settings.accumulate} passes"
        raise ConfigError("a batch size that can be divided", got, "change --batch-size or --accumulate")
    batch = recipe.batch_size // parts
    if recipe.mixes and batch % 2:
        raise ConfigError("an even batch where images are mixed", f"{batch}", "change --batch-size or --accumulate")
    images = TrainingImages(data.train, data.chosen, recipe, preprocessing, settings.seed)
    places = Places(images, batch=recipe.batch_size, processes=group.size, rank=group.rank, seed=settings.seed)
    loader: DataLoader[tuple[Tensor, int, int]] = DataLoader(
        images,
        batch_size=batch,
        sampler=places,
        num_workers=settings.workers,
        pin_memory=group.device.type == "cuda",
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


KEEP_PIXELS = 2**28  # of decoded images of an embedded set: they cost more to draw than to keep
_IMAGES = 1  # sets the random numbers of images apart from those of steps


class TrainingImages(Dataset[tuple[Tensor, int, int]]):
    """The chosen images of a set. An item is its input tensor (3, H, W), its label, and whether it could not be read.

    An image that cannot be read is replaced by the next one that can.
    """

    def __init__(
        self, image_set: ImageSet, indices: Sequence[int], recipe: Recipe, preprocessing: Preprocessing, seed: int
    ) -> None:
        self.image_set, self.indices, self.seed = image_set, list(indices), seed
        self.transform = transform_of(recipe, preprocessing)
        self._kept: dict[int, tuple[Image.Image, int | None]] = {}
        self._room = KEEP_PIXELS if image_set.embedded else 0

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> tuple[Tensor, int, int]:
        epoch, place = key
        for offset in range(len(self.indices)):
            index = self.indices[(place + offset) % len(self.indices)]
            try:
                image, label = self._read(index)
            except ImageError:
                continue
            assert label is not None  # sets without labels are refused before
            seed_at(self.seed, _IMAGES, epoch, index)
            return self.transform(image), label, int(offset > 0)
        raise ImageError(f"not one of {len(self.indices)} images of {self.image_set.name} could be read")

    def _read(self, index: int) -> tuple[Image.Image, int | None]:
        if index in self._kept:
            return self._kept[index]
        found = self.image_set.read(index)
        pixels = found[0].width * found[0].height
        if pixels <= self._room:
            self._room -= pixels
            self._kept[index] = found
        return found


def transform_of(recipe: Recipe, preprocessing: Preprocessing) -> Any:
    """PIL image -> (3, H, W) float32, normalised: timm's training transform, or an evaluation's with a shift.

    Raises:
        ConfigError: an augmentation or an interpolation that timm does not know.
    """
    if not recipe.augments:
        return _Plain(recipe, preprocessing)
    try:
        made = create_transform(
            input_size=(3, *preprocessing.size),
            is_training=True,
            scale=recipe.crop_scale or (1.0, 1.0),
            ratio=(3 / 4, 4 / 3) if recipe.crop_scale else (1.0, 1.0),
            hflip=recipe.hflip,
            color_jitter=recipe.color_jitter,
            auto_augment=recipe.auto_augment,
            interpolation=recipe.interpolation,
            mean=preprocessing.mean,
            std=preprocessing.std,
            re_prob=recipe.random_erasing,
            re_mode="pixel",
        )
    except (AssertionError, KeyError, ValueError) as error:
        got = f"auto_augment {recipe.auto_augment!r} and interpolation {recipe.interpolation!r} ({error})"
        raise ConfigError("augmentation that timm knows", got, "change the recipe") from error
    for step in getattr(made, "transforms", ()):
        for operation in getattr(step, "ops", ()):
            if operation.aug_fn is auto_augment.posterize:
                operation.aug_fn = posterised
    return made


def posterised(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """The image with so many bits a channel: timm's, for which newer Pillows refuse the 0 bits of the last level.

    timm's levels go down to none, which two images of a hundred with `mstd0.5` reach; older Pillows made them black.
    """
    if bits < 1:
        return Image.new(image.mode, image.size)
    found: Image.Image = auto_augment.posterize(image, bits)  # type: ignore[no-untyped-call]
    return found


class _Plain:
    """What an evaluation does to an image, and a shift by some pixels over a black margin."""

    def __init__(self, recipe: Recipe, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        pixels = recipe.crop_pixels
        self._shift = transforms.RandomCrop(preprocessing.size, padding=pixels) if pixels else None

    def __call__(self, image: Image.Image) -> Tensor:
        pixels = self._preprocessing.pixels(image)
        moved: Tensor = pixels if self._shift is None else self._shift(pixels)
        return self._preprocessing.normalise(moved[None])[0]


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
