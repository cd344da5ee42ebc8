"""Other crops of the image: moved (translation), or of another size (scaling). Only scaling resamples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stmbench.data.perturbations.base import Perturbation, Source, crop_corner, window
from stmbench.data.preprocessing import to_pixels

# (dy, dx) of the crop, clockwise from up; along a diagonal both axes move by the level
DIRECTIONS: Final = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def direction_of(index: int, seed: int) -> tuple[int, int]:
    """The direction (dy, dx) drawn for an image."""
    return DIRECTIONS[int(np.random.default_rng([seed, index]).integers(len(DIRECTIONS)))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translation(Perturbation):
    """Levels are pixels by which the crop moves within the resized image; the content moves the opposite way.

    Each image moves in one of eight directions, the same at every level, drawn from the seed and the image's index.
    """

    unit: ClassVar[str] = "px"

    def prepare(self, image: Image.Image) -> Tensor:
        """The resized image before the crop."""
        return self.preprocessing.uncropped_pixels(image)

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """The model's own centre crop."""
        return self.make(sources, 0)

    def supplies(self, source: Source, level: float) -> bool:
        """Whether the moved crop stays inside the image."""
        if self.fill != "none":
            return True
        top, left = self._corner(source, level)
        height, width = source.pixels.shape[-2:]
        rows, columns = self.preprocessing.size
        return top >= 0 and left >= 0 and top + rows <= height and left + columns <= width

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """The moved crops: slices, without resampling."""
        size, fill = self.preprocessing.size, self.fill
        return torch.stack([window(source.pixels, *self._corner(source, level), size, fill) for source in sources])

    def displacement(self, source: Source, level: float) -> tuple[float, float]:
        """The displacement of the content, opposite to that of the crop."""
        dy, dx = self.direction(source)
        return float(-dy * round(level)), float(-dx * round(level))

    def direction(self, source: Source) -> tuple[int, int]:
        """The direction (dy, dx) of this image's crop."""
        return direction_of(source.index, self.seed)

    def _corner(self, source: Source, level: float) -> tuple[int, int]:
        dy, dx = self.direction(source)
        top, left = crop_corner(source.pixels, self.preprocessing.size)
        return top + dy * round(level), left + dx * round(level)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling(Perturbation):
    """Levels are crop ratios: the crop, as a fraction of the shorter side, is resized to the model's input.

    The model's own ratio (for example 0.875) is the reference. Small ratios magnify; ratios above 1 show more than the
    image.
    """

    unit: ClassVar[str] = "1"

    def prepare(self, image: Image.Image) -> Tensor:
        """The image at its original size, from which every ratio is resized once."""
        return to_pixels(image)

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """The crop at the model's own ratio."""
        return self.make(sources, self.preprocessing.crop_pct)

    def supplies(self, source: Source, level: float) -> bool:
        """Whether the crop fits into the image."""
        return self.fill != "none" or level <= 1

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """Crops of `level` times the shorter side (times H : W of the input), antialiased bicubic."""
        return torch.stack([self._crop(source.pixels, level) for source in sources])

    def _crop(self, pixels: Tensor, level: float) -> Tensor:
        goal, have = self.preprocessing.size, pixels.shape[-2:]
        # the largest crop of the input's shape that fits has ratio 1
        unit = min(have[0] / goal[0], have[1] / goal[1])
        rows, columns = (max(1, round(level * unit * side)) for side in goal)
        top, left = (have[0] - rows) // 2, (have[1] - columns) // 2
        piece = window(pixels, top, left, (rows, columns), self.fill)
        if (rows, columns) == goal:
            return piece
        resized = F.interpolate(piece[None], goal, mode="bicubic", antialias=True, align_corners=False)[0]
        return resized.clamp_(0, 1)
