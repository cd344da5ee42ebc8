"""Rotation about the crop's centre, bicubic, a whole batch at once.

Keys' (1981) cubic convolution with a = -0.75, as in torch's grid_sample (PIL's rotation uses a = -1), and black outside
of the image. The definition page of the invariance analysis quantifies the difference.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stmbench.data.perturbations import ORDERS, Order
from stmbench.data.perturbations.base import Perturbation, Source, crop_corner, window
from stmbench.errors import ConfigError

MARGIN = 2  # pixels by which the cubic kernel extends beyond the disc


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation(Perturbation):
    """Levels are degrees counter-clockwise.

    The rotation comes 'before' the crop, so the corners show more of the resized image, or 'after' it, so they are
    black (or reflected).
    """

    order: Order = "before"

    unit: ClassVar[str] = "degree"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ORDERS:
            raise ConfigError("an order (before, after)", repr(self.order), "change --order")

    def prepare(self, image: Image.Image) -> Tensor:
        """The part of the resized image, or of the crop, that is visible at some angle, padded."""
        pixels = (
            self.preprocessing.uncropped_pixels(image) if self.order == "before" else self.preprocessing.pixels(image)
        )
        top, left = crop_corner(pixels, self.preprocessing.size)
        (height, width), reach = self.preprocessing.size, self._reach
        size = (height + 2 * reach[0], width + 2 * reach[1])
        return window(pixels, top - reach[0], left - reach[1], size, self.fill)

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """The model's own centre crop."""
        return self.make(sources, 0)

    def supplies(self, source: Source, level: float) -> bool:
        """Always True: no photograph fills the corners at every angle, so black corners are part of the definition."""
        return True

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """The rotated images, in one call; a multiple of 360 degrees is not resampled."""
        (height, width), (up, side) = self.preprocessing.size, self._reach
        batch = torch.stack([source.pixels for source in sources])
        if level % 360 == 0:
            return batch[:, :, up : up + height, side : side + width]
        grid = _grid(self.preprocessing.size, (batch.shape[2], batch.shape[3]), float(level), batch.device)
        turned = F.grid_sample(batch, grid.expand(len(batch), -1, -1, -1), mode="bicubic", align_corners=False)
        return turned.clamp_(0, 1)  # the cubic kernel overshoots at edges

    @property
    def _reach(self) -> tuple[int, int]:
        """Pixels beyond the crop, vertically and horizontally, that are visible at some angle."""
        height, width = self.preprocessing.size
        radius = math.hypot(height, width) / 2
        return math.ceil(radius - height / 2) + MARGIN, math.ceil(radius - width / 2) + MARGIN


@functools.lru_cache(maxsize=64)
def _grid(size: tuple[int, int], canvas: tuple[int, int], degrees: float, device: torch.device) -> Tensor:
    """(1, H, W, 2) positions on a canvas with the same centre, in units of grid_sample."""
    height, width = size
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    angle = math.radians(degrees)
    # counter-clockwise on the screen, where y points down: output (x, y) shows input (x', y')
    across = math.cos(angle) * x - math.sin(angle) * y
    down = math.sin(angle) * x + math.cos(angle) * y
    grid = torch.stack([across * 2 / canvas[1], down * 2 / canvas[0]], dim=-1)
    return grid[None].to(device, torch.float32)
