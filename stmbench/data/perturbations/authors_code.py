"""Translation, rotation and scaling exactly as in Hu et al.'s code, including its defects.

Their transforms work on PIL images and 8-bit pixels in their own order, and so do these: slower than ours, but the only
way to reproduce their figures. All start with a bicubic resize of the shorter side to floor(size / ratio).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize, rotate, to_pil_image

from stmbench.data.perturbations import Order
from stmbench.data.perturbations.base import Perturbation, Source
from stmbench.data.preprocessing import to_pixels

# (dy, dx) of the crop's centre in their order; randint(7) never draws the last of their eight, (1, -1)
AUTHORS_DIRECTIONS: Final = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1))


class _AuthorsCode(Perturbation):
    """What the three share: the untransformed image, and levels that every image supplies."""

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """Their standard transform: resize, then torchvision's centre crop."""
        return torch.stack([_on_device_of(source, self._standard(source)) for source in sources])

    def supplies(self, source: Source, level: float) -> bool:
        """Always True: everything outside of the image is black."""
        return True

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """One image at a time, as in their code."""
        return torch.stack([_on_device_of(source, self._level(source, level)) for source in sources])

    def prepare(self, image: Image.Image) -> Tensor:
        """The resized image before the crop."""
        return to_pixels(self._resized(image, self.preprocessing.crop_pct))

    def _standard(self, source: Source) -> Tensor:
        return self._cropped(_picture(source))

    @abc.abstractmethod
    def _level(self, source: Source, level: float) -> Tensor:
        """(3, H, W): one image at one level."""

    def _resized(self, image: Image.Image, ratio: float) -> Image.Image:
        """Resize the shorter side to floor(input / ratio)."""
        resized: Image.Image = resize(image, [int(min(self.preprocessing.size) / ratio)], InterpolationMode.BICUBIC)
        return resized

    def _cropped(self, image: Image.Image) -> Tensor:
        """torchvision's centre crop, with black around a smaller image."""
        return to_pixels(center_crop(image, list(self.preprocessing.size)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthorsTranslation(_AuthorsCode):
    """A crop with a moving centre, cut off at the edge of the image and then centred on black.

    The direction is drawn anew at each level: here from the seed, the image and the level, in their code from an
    unseeded generator of the loading process.
    """

    unit: ClassVar[str] = "px"

    def direction(self, source: Source, level: float) -> tuple[int, int]:
        """The direction (dy, dx) of this image's crop at this level."""
        drawn = np.random.default_rng([self.seed, source.index, round(level)]).integers(len(AUTHORS_DIRECTIONS))
        return AUTHORS_DIRECTIONS[int(drawn)]

    def displacement(self, source: Source, level: float) -> tuple[float, float]:
        """The displacement of the content, which is less than the level if the crop was cut off."""
        (rows, columns), (still_rows, still_columns) = self._cut(source, level), self._cut(source, 0)
        return float(_moved(rows, still_rows, self.preprocessing.size[0])), float(
            _moved(columns, still_columns, self.preprocessing.size[1])
        )

    def _level(self, source: Source, level: float) -> Tensor:
        rows, columns = self._cut(source, level)
        piece = source.pixels[:, rows, columns]
        height, width = (
            max(0, want - have) for want, have in zip(self.preprocessing.size, piece.shape[1:], strict=True)
        )
        return F.pad(piece, (width // 2, (width + 1) // 2, height // 2, (height + 1) // 2))

    def _cut(self, source: Source, level: float) -> tuple[slice, slice]:
        """The rows and columns of the image that are within the crop."""
        cuts = []
        sizes = zip(source.pixels.shape[-2:], self.preprocessing.size, self.direction(source, level), strict=True)
        for have, want, step in sizes:
            centre = have // 2 + step * round(level)
            cuts.append(slice(max(centre - want // 2, 0), min(centre + want // 2, have)))
        return cuts[0], cuts[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthorsRotation(_AuthorsCode):
    """PIL's bicubic rotation about the centre, of the resized image ('before') or of its crop ('after')."""

    order: Order = "before"

    unit: ClassVar[str] = "degree"

    def _level(self, source: Source, level: float) -> Tensor:
        image = _picture(source)
        if self.order == "before":
            return self._cropped(rotate(image, level, InterpolationMode.BICUBIC))
        crop = center_crop(image, list(self.preprocessing.size))
        return to_pixels(rotate(crop, level, InterpolationMode.BICUBIC))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthorsScaling(_AuthorsCode):
    """The whole image resized for a crop ratio, then cropped; above 1 it is smaller and surrounded by black."""

    unit: ClassVar[str] = "1"

    def prepare(self, image: Image.Image) -> Tensor:
        """The image at its original size."""
        return to_pixels(image)

    def _standard(self, source: Source) -> Tensor:
        return self._level(source, self.preprocessing.crop_pct)

    def _level(self, source: Source, level: float) -> Tensor:
        return self._cropped(self._resized(_picture(source), level))


def _picture(source: Source) -> Image.Image:
    """The source as a PIL image, with exactly its original 8-bit pixels."""
    picture: Image.Image = to_pil_image(source.pixels.cpu().mul(255).round().to(torch.uint8))
    return picture


def _on_device_of(source: Source, pixels: Tensor) -> Tensor:
    return pixels.to(source.pixels.device)


def _moved(cut: slice, still: slice, want: int) -> int:
    """Pixels by which content moves along an axis if `cut` is centred in the picture, relative to `still` (level 0)."""

    def offset(part: slice) -> int:
        first, last = int(part.start), int(part.stop)
        return max(0, want - (last - first)) // 2 - first

    return offset(cut) - offset(still)
