"""Rotation about the crop's centre, bicubic, a whole batch at once.

Keys' (1981) cubic convolution with a = -0.75, as torch's grid_sample has it (PIL's rotation has a = -1), and black
where the image ends. docs/definitions/invariance.md says how far the two are apart.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stmbench.data.perturbations.base import Perturbation, Source, crop_corner, window
from stmbench.errors import ConfigError

Order = Literal["before", "after"]
ORDERS: tuple[Order, ...] = ("before", "after")
MARGIN = 2  # pixels that the cubic reaches beyond the disc


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation(Perturbation):
    """Levels are degrees counter-clockwise. 'before' the crop the resized image turns, and its corners come into view;
    'after' it the crop turns, and its corners go black (or are reflected)."""

    order: Order = "before"

    unit: ClassVar[str] = "degree"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ORDERS:
            raise ConfigError("an order (before, after)", repr(self.order), "change --order")

    def prepare(self, image: Image.Image) -> Tensor:
        """The part of the resized image, or of the crop, that some angle shows, and what stands around it."""
        pixels = self.preprocessing.larger(image) if self.order == "before" else self.preprocessing.pixels(image)
        top, left = crop_corner(pixels, self.preprocessing.size)
        (height, width), reach = self.preprocessing.size, self._reach
        size = (height + 2 * reach[0], width + 2 * reach[1])
        return window(pixels, top - reach[0], left - reach[1], size, self.fill)

    def reference(self, sources: Sequence[Source]) -> Tensor:
        """The model's own centre crop."""
        return self.make(sources, 0)

    def supplies(self, source: Source, level: float) -> bool:
        """Always: no photograph fills its corners at every angle, and black corners are part of the definition."""
        return True

    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """The turned images, in one call; a multiple of 360 degrees resamples nothing."""
        (height, width), (up, side) = self.preprocessing.size, self._reach
        batch = torch.stack([source.pixels for source in sources])
        if level % 360 == 0:
            return batch[:, :, up : up + height, side : side + width]
        grid = _grid(self.preprocessing.size, (batch.shape[2], batch.shape[3]), float(level), batch.device)
        turned = F.grid_sample(batch, grid.expand(len(batch), -1, -1, -1), mode="bicubic", align_corners=False)
        return turned.clamp_(0, 1)  # a cubic overshoots at edges

    @property
    def _reach(self) -> tuple[int, int]:
        """Pixels beyond the crop above and below, and to the sides, that some angle shows."""
        height, width = self.preprocessing.size
        radius = math.hypot(height, width) / 2
        return math.ceil(radius - height / 2) + MARGIN, math.ceil(radius - width / 2) + MARGIN


@functools.lru_cache(maxsize=64)
def _grid(size: tuple[int, int], canvas: tuple[int, int], degrees: float, device: torch.device) -> Tensor:
    """(1, H, W, 2) places on a canvas with the same centre, in grid_sample's units."""
    height, width = size
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    angle = math.radians(degrees)
    # counter-clockwise on the screen, whose y goes down: output (x, y) shows input (x', y')
    across = math.cos(angle) * x - math.sin(angle) * y
    down = math.sin(angle) * x + math.cos(angle) * y
    grid = torch.stack([across * 2 / canvas[1], down * 2 / canvas[0]], dim=-1)
    return grid[None].to(device, torch.float32)
