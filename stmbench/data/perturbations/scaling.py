"""Scaling by crop ratio: the crop, as a fraction of the image's shorter side, is resized to the model's input."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stmbench.data.perturbations.base import Perturbation, Source, window
from stmbench.data.preprocessing import to_pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling(Perturbation):
    """Levels are crop ratios, and the model's own (for example 0.875) is the reference.

    Small ratios magnify; above 1 the view extends beyond the image.
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
