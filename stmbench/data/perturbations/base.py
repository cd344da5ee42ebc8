"""The interface of a perturbation: an image is decoded once into a source, and every level is made from sources."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stmbench.data.perturbations import FILLS, Fill
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A decoded image: (3, H', W') float32 `pixels` in [0, 1] on the device, and its `index` in the set."""

    pixels: Tensor
    index: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perturbation(abc.ABC):
    """Levels of one transformation of the crop that a model sees.

    `fill` is what lies outside of the image: 'none' (levels that need it are not supplied), 'zeros', or 'reflect'.
    """

    preprocessing: Preprocessing
    fill: Fill = "none"
    seed: int = 0

    unit: ClassVar[str]  # of a level

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise ConfigError(f"a fill ({', '.join(FILLS)})", repr(self.fill), "change --pad")

    @abc.abstractmethod
    def prepare(self, image: Image.Image) -> Tensor:
        """The pixels of a source, prepared on the CPU: (3, H', W') float32 in [0, 1]."""

    @abc.abstractmethod
    def reference(self, sources: Sequence[Source]) -> Tensor:
        """(B, 3, H, W): the untransformed images, made in the same way as the levels."""

    @abc.abstractmethod
    def supplies(self, source: Source, level: float) -> bool:
        """Whether the image contains everything that is visible at this level."""

    @abc.abstractmethod
    def make(self, sources: Sequence[Source], level: float) -> Tensor:
        """(B, 3, H, W) at a level that every source supplies."""

    def displacement(self, source: Source, level: float) -> tuple[float, float]:
        """The displacement (dy, dx) of the content in pixels; (0, 0) if it is not a translation."""
        return 0.0, 0.0


def window(pixels: Tensor, top: int, left: int, size: tuple[int, int], fill: Fill) -> Tensor:
    """(3, H', W') -> the (3, *size) window at (top, left), which may extend beyond the image and is filled there.

    Reflection does not repeat the edge, and goes back and forth if the window is larger than the image.
    """
    height, width = pixels.shape[-2:]
    bottom, right = top + size[0], left + size[1]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return pixels[:, top:bottom, left:right]
    if fill == "reflect":
        rows = _reflected(range(top, bottom), height)
        columns = _reflected(range(left, right), width)
        return pixels[:, rows][:, :, columns]
    inside = pixels[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    before_y, before_x = min(max(-top, 0), size[0]), min(max(-left, 0), size[1])
    after_y, after_x = size[0] - before_y - inside.shape[1], size[1] - before_x - inside.shape[2]
    return F.pad(inside, (before_x, after_x, before_y, after_y))


def crop_corner(pixels: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """(top, left) of the centre crop, as torchvision and timm round it."""
    return tuple(round((have - want) / 2.0) for have, want in zip(pixels.shape[-2:], size, strict=True))  # type: ignore[return-value]


def _reflected(positions: range, size: int) -> list[int]:
    if size == 1:
        return [0] * len(positions)
    period = 2 * (size - 1)
    return [min(position % period, period - position % period) for position in positions]
