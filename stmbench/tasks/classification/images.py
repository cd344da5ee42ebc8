"""Training images, augmented by what draws from a function of the place in the run: timm's transforms, for one.

Images stay in 8 bits until a whole batch is on its device; there colours are changed, it is normalised, and boxes of it
are erased.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from timm.data import auto_augment
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from stmbench.data.image_set import ImageSet
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, ImageError
from stmbench.tasks.colours import CHANGES, drawn_jitter
from stmbench.training.batches import Blocks, Key
from stmbench.training.recipe import Recipe
from stmbench.training.settings import seed_at

KEEP_PIXELS = 2**28  # of decoded images of an embedded set: they cost more to draw than to keep
_IMAGES, _SHIFTS = 1, 4  # set the random numbers of images apart from those of steps (2) and of their order (3)
ERASED_AREA: Final = (0.02, 1 / 3)  # of an image, and the sides' ratio: Zhong et al. 2017
ERASED_RATIO: Final = (0.3, 1 / 0.3)
ERASE_TRIES: Final = 10  # at a box that fits
NOT_ERASED: Final = (0, 0, 0, 0, 0)
NO_BOXES: Final = torch.zeros(0, len(NOT_ERASED), dtype=torch.int64)
NO_CHANGES: Final = torch.zeros(0, len(CHANGES))
Batch = tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]


class TrainingImages(Dataset[tuple[Any, int, int]]):
    """The chosen images of a set. An item is what `transform` makes of it, its label, and whether it could not be read.

    Where images have no labels, that is -1. An image that cannot be read is replaced by the next one that can.

    """

    def __init__(
        self, image_set: ImageSet, indices: Sequence[int], transform: Callable[[Image.Image], Any], seed: int
    ) -> None:
        self.image_set, self.indices, self.transform, self.seed = image_set, list(indices), transform, seed
        self._kept: dict[int, tuple[Any, int | None]] = {}
        self._room = KEEP_PIXELS if image_set.embedded else 0

    def __len__(self) -> int:
        return len(self.indices)

    def blocks(self) -> Blocks | None:
        """Which of the chosen images are read at once, see `ImageSet.blocks`."""
        found = self.image_set.blocks()
        return None if found is None else (found[0][self.indices], found[1])

    def __getitem__(self, key: Key) -> tuple[Any, int, int]:
        found, label, index, flag = self.found(key[1])
        seed_at(self.seed, _IMAGES, key[0], index)
        return self.transform(found), label, flag

    def found(self, place: int) -> tuple[Any, int, int, int]:
        """The prepared image at a place or after it, its label, its number in the set, and whether it is another one.

        Raises:
            ImageError: no image can be read.
        """
        for offset in range(len(self.indices)):
            index = self.indices[(place + offset) % len(self.indices)]
            try:
                found, label = self._read(index)
            except ImageError:
                continue
            return found, -1 if label is None else label, index, int(offset > 0)
        raise ImageError(f"not one of {len(self.indices)} images of {self.image_set.name} could be read")

    def prepared(self, image: Image.Image) -> Any:
        """What is the same in every epoch; that of an embedded set's images is kept."""
        return image

    def _read(self, index: int) -> tuple[Any, int | None]:
        if index in self._kept:
            return self._kept[index]
        image, label = self.image_set.read(index)
        found = self.prepared(image)
        pixels = found.numel() // 3 if isinstance(found, Tensor) else image.width * image.height
        if pixels <= self._room:
            self._room -= pixels
            self._kept[index] = found, label
        return found, label


def images_of(
    recipe: Recipe, preprocessing: Preprocessing, image_set: ImageSet, indices: Sequence[int], seed: int
) -> TrainingImages:
    """The images as the recipe augments them; a batch is (B, 3, H, W) uint8, boxes (B or 0, 5), changes (B or 0, 9).

    Raises:
        ConfigError: an augmentation or an interpolation that timm does not know.
    """
    if recipe.augments:
        return TrainingImages(image_set, indices, Augmented(recipe, preprocessing), seed)
    return ShiftedImages(image_set, indices, preprocessing, seed, recipe.crop_pixels)


class Augmented:
    """timm's training transform: PIL image -> ((3, H, W) uint8, (5,) `erased_box`, (9,) `CHANGES` or (0,))."""

    def __init__(self, recipe: Recipe, preprocessing: Preprocessing) -> None:
        self.steps = timm_transform(recipe, preprocessing)
        self._rate, self._size = recipe.random_erasing, preprocessing.size
        instead = recipe.auto_augment is not None and "3a" not in recipe.auto_augment  # as timm has it
        self._jitter = 0.0 if instead else recipe.color_jitter

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor, Tensor]:
        pixels, box = self.steps(image), torch.tensor(erased_box(self._rate, *self._size))
        return pixels, box, torch.tensor(drawn_jitter(self._jitter) if self._jitter else ())


class ShiftedImages(TrainingImages):
    """An evaluation's images, in each epoch shifted by up to `margin` pixels over a black margin.

    The shifts of an epoch are drawn at once: seeding for each image costs as much as a tenth of a small network's step.
    Once all images are kept, they are in one array, of whose windows a batch is one copy.
    """

    def __init__(
        self, image_set: ImageSet, indices: Sequence[int], preprocessing: Preprocessing, seed: int, margin: int
    ) -> None:
        super().__init__(image_set, indices, preprocessing.levels, seed)
        self._size, self._margin = preprocessing.size, margin
        self._drawn = -1, np.zeros((0, 2), dtype=np.int64)  # an epoch, and its shifts
        self._together: tuple[NDArray[Any], ...] | None = None  # what is found at all places

    def __getstate__(self) -> dict[str, Any]:
        """Without the images that are kept: a copy of their windows has every pixel many times."""
        return {**vars(self), "_together": None}

    def prepared(self, image: Image.Image) -> Tensor:
        """(3, H + 2 margin, W + 2 margin) uint8."""
        return F.pad(self.transform(image), [self._margin] * 4)

    def __getitem__(self, key: Key) -> tuple[Any, int, int]:
        (pixels, *none), labels, flags = self.__getitems__([key])
        return (pixels[0], *none), int(labels[0]), int(flags[0])

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch, as torch's loader asks for it: (B, 3, H, W) uint8, no boxes or changes, labels and flags."""
        rows: Any = [place for _, place in keys]
        if self._together is None and len(self._kept) == len(self.indices):
            self._together = self._windows(range(len(self)))
            self._kept = {}  # an image is not there twice
        if self._together is None:
            windows, labels, indices, replaced = self._windows(rows)
            rows = range(len(keys))
        else:
            windows, labels, indices, replaced = self._together
        top, left = self._shifts(keys[0][0])[indices[rows]].T
        pixels = windows[rows, :, top, left]  # NumPy copies rows, where torch's gather copies pixels one by one
        inputs = (torch.from_numpy(pixels), NO_BOXES, NO_CHANGES)
        return inputs, torch.from_numpy(labels[rows]), torch.from_numpy(replaced[rows])

    def _windows(self, places: Sequence[int]) -> tuple[NDArray[Any], ...]:
        """What is `found` at some places: windows of images, a view (N, 3, 2 margin + 1, 2 margin + 1, H, W), labels,
        numbers in the set, and whether they are others."""
        images, *numbers = zip(*map(self.found, places), strict=True)
        return sliding_window_view(torch.stack(images).numpy(), self._size, (2, 3)), *map(np.array, numbers)

    def _shifts(self, epoch: int) -> NDArray[np.int64]:
        """(images of the set, 2) corners of an epoch."""
        if self._drawn[0] != epoch:
            random = np.random.default_rng((self.seed, _SHIFTS, epoch))
            self._drawn = epoch, random.integers(2 * self._margin + 1, size=(len(self.image_set), 2))
        return self._drawn[1]


def collated(items: Any) -> Any:
    """The batch of a loader's items, which `ShiftedImages` makes itself."""
    return items if isinstance(items, tuple) else default_collate(items)


def erased_box(rate: float, height: int, width: int) -> tuple[int, int, int, int, int]:
    """Top, left, height and width of the box to erase, and the seed of its noise, from Python's global state."""
    if not rate or random.random() > rate:
        return NOT_ERASED
    for _ in range(ERASE_TRIES):
        area = random.uniform(*ERASED_AREA) * height * width
        ratio = math.exp(random.uniform(*map(math.log, ERASED_RATIO)))
        down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if down < height and across < width:
            top, left = random.randint(0, height - down), random.randint(0, width - across)
            return top, left, down, across, random.getrandbits(62)
    return NOT_ERASED


def erase(images: Tensor, boxes: Tensor) -> None:
    """Fill the boxes (B, 5) of normalised images (B, 3, H, W) with noise, in place.

    Each box has a seed of its own, so that the noise does not depend on how a step is divided over processes.
    """
    generator = torch.Generator(images.device)
    for number, (top, left, height, width, seed) in enumerate(boxes.tolist()):
        if height and width:
            noise = (images.shape[1], height, width)
            images[number, :, top : top + height, left : left + width] = torch.randn(
                noise, generator=generator.manual_seed(seed), device=images.device
            )


def timm_transform(recipe: Recipe, preprocessing: Preprocessing) -> Any:
    """timm's training transform up to 8 bits: crop, flip and RandAugment, which are made of an image in PIL.

    Raises:
        ConfigError: an augmentation or an interpolation that timm does not know.
    """
    try:
        made = create_transform(
            input_size=(3, *preprocessing.size),
            is_training=True,
            scale=recipe.crop_scale or (1.0, 1.0),
            ratio=(3 / 4, 4 / 3) if recipe.crop_scale else (1.0, 1.0),
            hflip=recipe.hflip,
            color_jitter=0.0,  # made on the device
            auto_augment=recipe.auto_augment,
            interpolation=recipe.interpolation,
            mean=preprocessing.mean,  # the colour of margins
            use_prefetcher=True,  # neither normalised nor erased
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
