"""Translation, rotation and scale as Hu et al.'s code makes them, defects included, pixel for pixel.

Their transforms work on PIL images and 8-bit pixels, in an order of their own, so these do too: slower than ours, but
the only way to their figures. Every one starts from a resize of the shorter side to floor(size / ratio), bicubic.
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

from stmbench.data.perturbations.base import Perturbation, Source
from stmbench.data.perturbations.rotation import Order
from stmbench.data.preprocessing import to_pixels

# (dy, dx) of the crop's centre in the order of their draw; randint(7) never draws the last of their eight, (1, -1)
AUTHORS_DIRECTIONS: Final = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1))


class _AuthorsCode(Perturbation):
    """What the three have in common: the untransformed image, and levels that any image supplies."""

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """Their standard transform: resized, then torchvision's centre crop."""
        return torch.stack([_on_device_of(source, self._standard(source)) for source in sources])

    def supplies(self, source: Source, level: float) -> bool:
        """Always: what lies beyond the image is black."""
        return True

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """One image at a time, as they do."""
        return torch.stack([_on_device_of(source, self._level(source, level)) for source in sources])

    def prepare(self, image: Image.Image) -> Tensor:
        """The resized image before the crop."""
        return to_pixels(self._resized(image, self.preprocessing.crop_pct))

    def _standard(self, source: Source) -> Tensor:
        return self._cropped(_picture(source))

    @abc.abstractmethod
    def _level(self, source: Source, level: float) -> Tensor:
        """(3, H, W): one image at a level."""

    def _resized(self, image: Image.Image, ratio: float) -> Image.Image:
        """The shorter side at floor(input / ratio)."""
        found: Image.Image = resize(image, [int(min(self.preprocessing.size) / ratio)], InterpolationMode.BICUBIC)
        return found

    def _cropped(self, image: Image.Image) -> Tensor:
        """torchvision's centre crop, black around an image that is smaller than it."""
        return to_pixels(center_crop(image, list(self.preprocessing.size)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthorsTranslation(_AuthorsCode):
    """The crop about a centre that moves, cut where the image ends; what is left goes into the middle of a black one.

    The direction is drawn again at each level: from the seed, the image and the level here, from an unseeded generator
    of the loading process there.
    """

    unit: ClassVar[str] = "px"

    def direction(self, source: Source, level: float) -> tuple[int, int]:
        """(dy, dx) in which the crop of this image goes at this level."""
        drawn = np.random.default_rng([self.seed, source.index, round(level)]).integers(len(AUTHORS_DIRECTIONS))
        return AUTHORS_DIRECTIONS[int(drawn)]

    def displacement(self, source: Source, level: float) -> tuple[float, float]:
        """How far the content moves: less than the level says where the crop was cut."""
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
        """Rows and columns of the image that the crop shows."""
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
    """The whole image resized for a crop ratio, then cropped; above 1 it is smaller, with black around."""

    unit: ClassVar[str] = "1"

    def prepare(self, image: Image.Image) -> Tensor:
        """The image at its own size."""
        return to_pixels(image)

    def _standard(self, source: Source) -> Tensor:
        return self._level(source, self.preprocessing.crop_pct)

    def _level(self, source: Source, level: float) -> Tensor:
        return self._cropped(self._resized(_picture(source), level))


def _picture(source: Source) -> Image.Image:
    """The source's 8-bit pixels again, exactly."""
    found: Image.Image = to_pil_image(source.pixels.cpu().mul(255).round().to(torch.uint8))
    return found


def _on_device_of(source: Source, pixels: Tensor) -> Tensor:
    return pixels.to(source.pixels.device)


def _moved(cut: slice, still: slice, want: int) -> int:
    """Pixels by which content moves when this part of an axis is centred in the picture, from where level 0 has it."""

    def offset(part: slice) -> int:
        first, last = int(part.start), int(part.stop)
        return max(0, want - (last - first)) // 2 - first

    return offset(cut) - offset(still)
