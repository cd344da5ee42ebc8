"""Training batches of a detection set: which images, in which order, and what replaces one that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from stmbench.data.detection.detection_set import DetectionSet, Target
from stmbench.data.detection.transforms import DetectionTransform
from stmbench.errors import ConfigError, ImageError

Key = tuple[int, int]  # epoch, place among the chosen images
Sample = tuple[Tensor, Target, int]
KEEP_PIXELS = 2**26  # of decoded images of an embedded set, which cost more to draw than to keep, as their masks do
_IMAGES, _ORDER = 1, 3  # set the random numbers of images apart from those of their order


def training_images(images: DetectionSet, *, empty: bool = False) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The images to train on, and a remark on those that are left out.

    Images without objects, or with crowd alone, are left out unless `empty`, as torchvision and mmdet do.

    Raises:
        ConfigError: no image is left.
    """
    kept = np.arange(len(images)) if empty else np.flatnonzero(images.annotated())
    if not len(kept):
        got = f"none of {len(images)} in {images.name}'s {images.split}"
        raise ConfigError("images with objects to train on", got, "correct the annotations")
    left = len(images) - len(kept)
    remark = f"{images.name}: {left} of {len(images)} images of {images.split} have no objects and are not trained on"
    return tuple(kept.tolist()), (remark,) if left else ()


class DetectionSamples(Dataset[Sample]):
    """The chosen images of a set. An item is its image (3, H, W), its target, and whether it could not be read.

    What is random in an item depends on the seed, the epoch and the image alone. An image that cannot be read is
    replaced by the next one that can.
    """

    def __init__(
        self, images: DetectionSet, indices: Sequence[int], transform: DetectionTransform, *, masks: bool, seed: int
    ) -> None:
        self.detection_set, self.indices, self.transform = images, list(indices), transform
        self.masks, self.seed = masks, seed
        self._kept: dict[int, tuple[Image.Image, Target]] = {}
        self._room = KEEP_PIXELS if images.embedded else 0

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> Sample:
        epoch, place = key
        for offset in range(len(self.indices)):
            index = self.indices[(place + offset) % len(self.indices)]
            try:
                image, target = self._read(index)
            except ImageError:
                continue
            random = np.random.default_rng((self.seed, _IMAGES, epoch, index))
            return *self.transform(image, target, random), int(offset > 0)
        raise ImageError(f"not one of {len(self.indices)} images of {self.detection_set.name} could be read")

    def tall(self) -> np.ndarray:
        """(len,) bool, whether an image is higher than wide."""
        sizes = (self.detection_set.size(index) for index in self.indices)
        return np.array([height > width for height, width in sizes], dtype=np.bool_)

    def _read(self, index: int) -> tuple[Image.Image, Target]:
        if index in self._kept:
            return self._kept[index]
        found = self.detection_set.read(index, self.masks)
        pixels = found[0].width * found[0].height
        if pixels <= self._room:
            self._room -= pixels
            self._kept[index] = found
        return found


class AlikePlaces(Sampler[Key]):
    """This process's share of an epoch's order, from step `start` on, with images of like orientation in a step.

    A batch is padded to its widest and highest image, so wide and tall ones together would be mostly padding. The
    images of a step depend on the seed and the epoch alone, and each of `processes` takes every processes-th of them.
    The last step of an epoch may take what is left of both; images beyond a whole number of steps are left out of it.
    """

    def __init__(self, samples: DetectionSamples, *, batch: int, processes: int, rank: int, seed: int) -> None:
        if batch % processes:
            got = f"{batch} over {processes} processes"
            raise ConfigError("a batch size that can be divided", got, "change --batch-size")
        self._tall, self._seed = samples.tall(), seed
        self._batch, self._processes, self._rank = batch, processes, rank
        self.local = batch // processes
        self.steps = len(samples) // batch
        self.epoch, self.start = 0, 0

    def __iter__(self) -> Iterator[Key]:
        for step in self._ordered()[self.start :]:
            yield from ((self.epoch, place) for place in step[self._rank :: self._processes])

    def __len__(self) -> int:
        return (self.steps - self.start) * self.local

    def _ordered(self) -> list[list[int]]:
        """The places of each step."""
        order = np.random.default_rng((self._seed, _ORDER, self.epoch)).permutation(len(self._tall))
        waiting: tuple[list[int], list[int]] = ([], [])
        steps = []
        for place in order.tolist():
            alike = waiting[int(self._tall[place])]
            alike.append(place)
            if len(alike) == self._batch:
                steps.append(alike.copy())
                alike.clear()
        left = waiting[0] + waiting[1]
        return steps + [left[: self._batch]] * (len(left) >= self._batch)


def collated(samples: Sequence[Sample]) -> tuple[list[Tensor], list[Target], Tensor]:
    """The images, their targets, and (B,) flags of those that could not be read."""
    images, targets, flags = zip(*samples, strict=True)
    return list(images), list(targets), torch.tensor(flags)
