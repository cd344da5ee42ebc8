"""Training images, augmented by what draws from a function of the place in the run: timm's transforms, for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from timm.data import auto_augment
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from stmbench.data.image_set import ImageSet
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, ImageError
from stmbench.training.batches import Key
from stmbench.training.recipe import Recipe
from stmbench.training.settings import seed_at

KEEP_PIXELS = 2**28  # of decoded images of an embedded set: they cost more to draw than to keep
_IMAGES = 1  # sets the random numbers of images apart from those of steps


class TrainingImages(Dataset[tuple[Any, int, int]]):
    """The chosen images of a set. An item is what `transform` makes of it, its label, and whether it could not be read.

    Where images have no labels, that is -1. An image that cannot be read is replaced by the next one that can.
    """

    def __init__(
        self, image_set: ImageSet, indices: Sequence[int], transform: Callable[[Image.Image], Any], seed: int
    ) -> None:
        self.image_set, self.indices, self.transform, self.seed = image_set, list(indices), transform, seed
        self._kept: dict[int, tuple[Image.Image, int | None]] = {}
        self._room = KEEP_PIXELS if image_set.embedded else 0

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> tuple[Any, int, int]:
        epoch, place = key
        for offset in range(len(self.indices)):
            index = self.indices[(place + offset) % len(self.indices)]
            try:
                image, label = self._read(index)
            except ImageError:
                continue
            seed_at(self.seed, _IMAGES, epoch, index)
            return self.transform(image), -1 if label is None else label, int(offset > 0)
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
