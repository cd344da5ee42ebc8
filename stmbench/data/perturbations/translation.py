"""A true shift: the crop moves inside the resized image, so the content moves by exactly as much the other way."""

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
    """Levels are pixels. Each image goes in one of `directions` directions, drawn from the seed and its place in the
    set, the same at every level.

    `recentred` is the authors' defect: the crop is cut where the image ends, and what is left is put into the middle of
    a black picture, so that the content moves by less than the level says.
    """

    directions: int = len(DIRECTIONS)
    recentred: bool = False

    unit: ClassVar[str] = "px"

    def prepare(self, image: Image.Image) -> Tensor:
        """The resized image before the crop."""
        return self.preprocessing.larger(image)

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """The model's own centre crop."""
        return self.make(sources, 0)

    def supplies(self, source: Source, level: float) -> bool:
        """Whether the moved crop stays inside the image."""
        if self.fill != "none" or self.recentred:
            return True
        top, left = self._corner(source, level)
        height, width = source.pixels.shape[-2:]
        rows, columns = self.preprocessing.size
        return top >= 0 and left >= 0 and top + rows <= height and left + columns <= width

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """The moved crops; a slice each, no resampling."""
        return torch.stack([self._crop(source, level) for source in sources])

    def displacement(self, source: Source, level: float) -> tuple[float, float]:
        """How far the content moves, opposite to the crop."""
        if self.recentred:
            (top, moved), (start, _) = self._cut(source, level), self._cut(source, 0)
            return float(moved[0] - top[0] + start[0]), float(moved[1] - top[1] + start[1])
        dy, dx = self.direction(source)
        return float(-dy * round(level)), float(-dx * round(level))

    def direction(self, source: Source) -> tuple[int, int]:
        """(dy, dx) in which the crop of this image goes."""
        drawn = np.random.default_rng([self.seed, source.index]).integers(self.directions)
        return DIRECTIONS[int(drawn)]

    def _corner(self, source: Source, level: float) -> tuple[int, int]:
        dy, dx = self.direction(source)
        top, left = crop_corner(source.pixels, self.preprocessing.size)
        return top + dy * round(level), left + dx * round(level)

    def _crop(self, source: Source, level: float) -> Tensor:
        if not self.recentred:
            return window(source.pixels, *self._corner(source, level), self.preprocessing.size, self.fill)
        (top, left), (down, right) = self._cut(source, level)
        height, width = self.preprocessing.size
        picture = source.pixels.new_zeros(3, height, width)
        corner_y, corner_x = self._corner(source, level)
        piece = source.pixels[:, top : max(corner_y + height, 0), left : max(corner_x + width, 0)][:, :height, :width]
        picture[:, down : down + piece.shape[1], right : right + piece.shape[2]] = piece
        return picture

    def _cut(self, source: Source, level: float) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the cut crop starts in the image, and where it is put in the picture."""
        starts, places = [], []
        corners, have = self._corner(source, level), source.pixels.shape[-2:]
        for corner, want, size in zip(corners, self.preprocessing.size, have, strict=True):
            start, stop = min(max(corner, 0), size), min(max(corner + want, 0), size)
            starts.append(start)
            places.append((want - (stop - start)) // 2)
        return (starts[0], starts[1]), (places[0], places[1])
