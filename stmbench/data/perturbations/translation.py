"""Translation: the crop moves within the resized image, so the content moves by exactly as much the opposite way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stmbench.data.perturbations.base import Perturbation, Source, crop_corner, window

# (dy, dx) of the crop, clockwise from up; along a diagonal both axes move by the level
DIRECTIONS: Final = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Translation(Perturbation):
    """Levels are pixels. Each image moves in one of eight directions, the same at every level.

    The direction is drawn from the seed and the index of the image.
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
        drawn = np.random.default_rng([self.seed, source.index]).integers(len(DIRECTIONS))
        return DIRECTIONS[int(drawn)]

    def _corner(self, source: Source, level: float) -> tuple[int, int]:
        dy, dx = self.direction(source)
        top, left = crop_corner(source.pixels, self.preprocessing.size)
        return top + dy * round(level), left + dx * round(level)
