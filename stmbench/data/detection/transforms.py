"""From an image and its target to what a detector is trained on: tensors, mirrored and resized at random."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from stmbench.data.detection.detection_set import Target
from stmbench.errors import require

REMEDY = "change the recipe"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionTransform:
    """An image with 8 bits -> (3, H, W) float32 in [0, 1], and the target that belongs to it.

    Regions of crowd are left out of the target: a detector is not to learn them as single objects.

    Attributes:
        flip: the probability of mirroring left and right.
        shorter_sides: pixels, of which the new shorter side is drawn: a list, or a range such as range(640, 801).
            If empty, an image keeps its size. A detector that resizes by itself undoes this unless it is told not to.
        longest: the most pixels of the longer side; an image is made smaller to keep to it.
    """

    flip: float = 0.5
    shorter_sides: Sequence[int] = ()
    longest: int | None = None

    def __post_init__(self) -> None:
        require(0 <= self.flip <= 1, "a probability of flipping in [0, 1]", self.flip, REMEDY)
        smallest = min(self.shorter_sides, default=1)
        require(smallest >= 1, "shorter sides of at least 1 pixel", smallest, REMEDY)
        longest = self.longest
        require(longest is None or longest >= smallest, f"a longer side of at least {smallest}", longest, REMEDY)

    def __call__(self, image: Image.Image, target: Target, random: np.random.Generator) -> tuple[Tensor, Target]:
        """The tensor and a new target. The same numbers are drawn whatever the settings are."""
        flips, choice = random.random() < self.flip, random.random()
        pixels = as_tensor(image)
        target = without_crowd(target)
        if flips:
            pixels, target = mirrored(pixels, target)
        if self.shorter_sides:
            side = self.shorter_sides[int(choice * len(self.shorter_sides))]
            pixels, target = resized(pixels, target, side, self.longest)
        return pixels, target


def as_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).float() / 255


def without_crowd(target: Target) -> Target:
    """The target without regions of crowd."""
    kept = target["iscrowd"] == 0
    return {key: value[kept] if isinstance(value, Tensor) else value for key, value in target.items()}


def mirrored(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Left and right exchanged."""
    width = image.shape[2]
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    found = {**target, "boxes": boxes}
    if "masks" in target:
        found["masks"] = target["masks"].flip(-1)
    return image.flip(-1), found


def resized(image: Tensor, target: Target, shorter: int, longest: int | None) -> tuple[Tensor, Target]:
    """The image with this shorter side, or as large as `longest` allows; by torchvision's detectors' own rule.

    Bilinear without antialiasing, sides rounded down; masks take the nearest pixel.
    """
    height, width = image.shape[1:]
    scale = shorter / min(height, width)
    if longest is not None:
        scale = min(scale, longest / max(height, width))
    rescaled = functools.partial(interpolate, scale_factor=scale, recompute_scale_factor=True)
    pixels = rescaled(image[None], mode="bilinear", align_corners=False)[0]
    down, across = pixels.shape[1] / height, pixels.shape[2] / width
    found = {
        **target,
        "boxes": target["boxes"] * torch.tensor([across, down, across, down]),
        "area": target["area"] * (across * down),
    }
    if "masks" in target:
        masks = target["masks"]
        empty = torch.zeros((0, *pixels.shape[1:]), dtype=torch.uint8)
        found["masks"] = rescaled(masks[:, None].float())[:, 0].byte() if len(masks) else empty
    return pixels, found
