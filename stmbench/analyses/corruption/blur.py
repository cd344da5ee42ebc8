"""Defocus, frosted glass, motion and zoom blur.

Images are (B, 3, H, W) float32 in [0, 1]. Lengths in pixels are those of 224 px; `scaled` brings them to other sizes.
"""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.analyses.corruption.noise import Draws
from stmbench.analyses.corruption.options import SIDE
from stmbench.analyses.corruption.resampling import clipped_zoom, moved_along, rounded, smoothed, truncated

DISKS: Final = ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5))  # radius; sigma of the disk's edge
PANES: Final = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # sigma, largest move, passes
MOTIONS: Final = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))  # radius, sigma
ZOOMS: Final = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # end (excluded), step
SMALL_DISK: Final = 8  # pixels; up to this radius the kernel reaches 8 pixels, and its edge is smoothed over 3 x 3


def scaled(images: Tensor, length: float) -> float:
    """A length in pixels of 224 px in those of these images: the shorter side stands for 224."""
    return length * min(images.shape[-2:]) / SIDE


def defocus_blur(images: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """Correlation with a disk whose edge is smoothed; whole-sample reflection beyond the image."""
    small = radius <= SMALL_DISK
    half = math.ceil(scaled(images, SMALL_DISK if small else radius))
    kernel = _disk(scaled(images, radius), half, 3 if small else 5, sigma).to(images.device, images.dtype)
    flat = images.flatten(0, 1)[:, None]  # (3 B, 1, H, W)
    padded = F.pad(flat, (half, half, half, half), mode="reflect")
    return F.conv2d(padded, kernel[None, None]).view(images.shape)


def glass_blur(images: Tensor, draws: Draws, sigma: float, reach: int, passes: int) -> Tensor:
    """Smoothed, pixels exchanged for near ones, smoothed again.

    The published code means to swap two pixels, but copies the second one over the first (both sides of its
    assignment are views of one array). What was published is what is done here.
    """
    sigma, reach = scaled(images, sigma), max(1, round(scaled(images, reach)))
    height, width = images.shape[-2:]
    start = truncated(smoothed(images, sigma, truncate=4, edge="nearest"))
    moves = draws.integers(-reach, reach, passes, 2, height, width).cpu()
    places = _copied(moves, reach).to(images.device)  # (B, H W)
    mixed = start.flatten(2).gather(2, places[:, None].expand(-1, 3, -1)).view(images.shape)
    return smoothed(mixed, sigma, truncate=4, edge="nearest")


def motion_blur(images: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """Along a direction of -45 to 45 degrees that each image draws; rounded to 8 bits, as ImageMagick returns it."""
    degrees = draws.uniform(-45, 45)
    return rounded(moved_along(images, degrees, radius=scaled(images, radius), sigma=scaled(images, sigma)))


def zoom_blur(images: Tensor, draws: Draws, end: float, step: float) -> Tensor:
    """The mean of the image and of its zooms by 1, 1 + step, ... up to `end`."""
    factors = np.arange(1, end, step).tolist()
    return sum((clipped_zoom(images, factor) for factor in factors), images) / (len(factors) + 1)


@functools.lru_cache(maxsize=32)
def _disk(radius: float, half: int, window: int, sigma: float) -> Tensor:
    """(2 half + 1, 2 half + 1) float64 weights: 1 within the radius, scaled to the sum 1, then smoothed."""
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).double()
    disk /= disk.sum()
    edge = torch.exp(-((torch.arange(window, dtype=torch.float64) - window // 2) ** 2) / (2 * sigma**2))
    edge /= edge.sum()
    padded = F.pad(disk[None, None], (window // 2,) * 4, mode="reflect")
    return F.conv2d(padded, torch.outer(edge, edge)[None, None])[0, 0]


def _copied(moves: Tensor, reach: int) -> Tensor:
    """Where each pixel comes from, (B, H W), after all passes over the image.

    A pass goes from the bottom right to the top left and copies to each pixel (y, x) the one at (y + dy, x + dx) as it
    is by then. Pixels further apart than `reach` do not meet, so one diagonal front of the sweep is done at a time.

    Args:
        moves: (B, passes, 2, H, W) dx and dy, from -reach to reach - 1.
    """
    count, passes, _, height, width = moves.shape
    order, ends = _fronts(height, width, reach)
    sources = torch.arange(height * width).repeat(count, 1)
    steps = (moves[:, :, 1] * width + moves[:, :, 0]).flatten(2)[:, :, order]
    for number in range(passes):
        wanted, begin = order + steps[:, number], 0
        for end in ends:
            sources[:, order[begin:end]] = sources.gather(1, wanted[:, begin:end])
            begin = end
    return sources


@functools.lru_cache(maxsize=16)
def _fronts(height: int, width: int, reach: int) -> tuple[Tensor, list[int]]:
    """The pixels that move, flat, in the order of their fronts, and where each front ends in it."""
    rows, columns = (torch.arange(side - reach, reach, -1) for side in (height, width))
    flat = rows[:, None] * width + columns
    front = (reach + 1) * torch.arange(len(rows))[:, None] + torch.arange(len(columns))
    order = front.flatten().argsort(stable=True)
    return flat.flatten()[order], front.flatten().bincount().cumsum(0).tolist()
