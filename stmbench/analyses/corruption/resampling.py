"""What several corruptions do to pixels: smooth, zoom, move along a line, and store in 8 bits. Always (B, C, H, W)."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 1e-3  # of an 8-bit level: float32 gives 86.99999 where 87 is meant


def truncated(images: Tensor) -> Tensor:
    """Clipped to [0, 1] and stored in 8 bits as the published code does, by dropping what is behind the point."""
    return images.clamp(0, 1).mul(255).add_(TOLERANCE).floor_().div_(255)


def rounded(images: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to 8 bits, as image libraries do."""
    return images.clamp(0, 1).mul(255).add_(0.5).floor_().div_(255)


def smoothed(images: Tensor, sigma: float, *, truncate: float, edge: Literal["nearest", "reflect"]) -> Tensor:
    """Gaussian smoothing with scipy's kernel (radius int(truncate sigma + 0.5)) and scipy's names of what an edge does.

    Two products with matrices: at the largest sigma the kernel is wider than the image, and is folded into it.
    """
    height, width = images.shape[-2:]
    down, across = (
        _smoothing_matrix(side, sigma, truncate, edge).to(images.device, images.dtype) for side in (height, width)
    )
    return down @ images @ across.T


def clipped_zoom(images: Tensor, factor: float) -> Tensor:
    """The centre, enlarged by `factor` >= 1 to H x W: bilinear between the centres of the outermost pixels.

    ceil(side / factor) pixels of each side are enlarged to round(that x factor), and the centre of these is kept.
    """
    height, width = images.shape[-2:]
    part = [math.ceil(side / factor) for side in (height, width)]
    top, left = (height - part[0]) // 2, (width - part[1]) // 2
    size = [max(round(side * factor), whole) for side, whole in zip(part, (height, width), strict=True)]
    cut = images[..., top : top + part[0], left : left + part[1]]
    large = F.interpolate(cut, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return large[..., top : top + height, left : left + width]


def moved_along(images: Tensor, degrees: Tensor, *, radius: float, sigma: float) -> Tensor:
    """Motion blur as ImageMagick's: a mean of shifted images, weighted by one half of a Gaussian.

    Tap i of 2 ceil(radius) + 1 has the weight exp(-i^2 / 2 sigma^2) and shows the pixel ceil(i cos a - 1/2) to the
    right and ceil(i sin a - 1/2) down; the edge is repeated beyond the image.

    Args:
        degrees: (B,) a, the direction in each image.
    """
    taps = torch.arange(2 * math.ceil(radius) + 1, dtype=torch.float64)
    weights = torch.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    angles = torch.deg2rad(degrees.cpu().double())[:, None]
    right, down = (torch.ceil(taps * turn(angles) - 0.5).int().tolist() for turn in (torch.cos, torch.sin))  # (B, taps)
    height, width = images.shape[-2:]
    margin = len(taps)
    padded = F.pad(images, (margin, margin, margin, margin), mode="replicate")
    blurred = torch.zeros_like(images)
    for number, one in enumerate(padded):
        for weight, x, y in zip(weights.tolist(), right[number], down[number], strict=True):
            y, x = margin + y, margin + x
            blurred[number].add_(one[:, y : y + height, x : x + width], alpha=weight)
    return blurred


@functools.lru_cache(maxsize=32)
def _smoothing_matrix(side: int, sigma: float, truncate: float, edge: str) -> Tensor:
    """(side, side) float64: row i has the weights of the pixels that the smoothed pixel i is made of."""
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    weights /= weights.sum()
    places = torch.arange(side)[:, None] + offsets  # (side, taps)
    if edge == "nearest":
        places = places.clamp(0, side - 1)
    else:  # half-sample symmetric: c b a | a b c | c b a
        places = places % (2 * side)
        places = torch.minimum(places, 2 * side - 1 - places)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, places, weights.expand(side, -1).contiguous())
