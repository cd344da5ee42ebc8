"""Textures that weather is made of: a plasma fractal for fog, and grown ice for frost."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.analyses.corruption.noise import Draws

TINT = (0.86, 0.94, 1.0)  # frost is a little blue
PATCHES = 6  # of needles in one direction
NEEDLES = ((40, 7, 0.55), (110, 16, 0.45))  # cells across and along them over the image, weight


def plasma(draws: Draws, side: int, decay: float) -> Tensor:
    """(B, side, side) in [0, 1] by diamond-square (Fournier, Fussell and Carpenter 1982), wrapped at the edges.

    A midpoint is the mean of its four neighbours plus a uniform number, whose range shrinks by decay^2 with every
    halving of the grid (the published code scales both the number and its range).

    Args:
        side: a power of two.
    """
    count = len(draws)
    grid = torch.zeros(count, side, side, device=draws.device)
    step, wobble = side, 100.0
    while step >= 2:
        half = step // 2
        cells = side // step

        def shaken(mean: Tensor, wobble: float = wobble, cells: int = cells) -> Tensor:
            return mean + wobble * draws.uniform(-wobble, wobble, cells, cells)

        corners = grid[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        grid[:, half::step, half::step] = shaken((pairs + pairs.roll(-1, 2)) / 4)
        middles = grid[:, half::step, half::step]
        beside = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        grid[:, ::step, half::step] = shaken(beside / 4)
        above = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        grid[:, half::step, ::step] = shaken(above / 4)
        step, wobble = half, wobble / decay
    low, high = grid.amin((1, 2), keepdim=True), grid.amax((1, 2), keepdim=True)
    return (grid - low) / (high - low)


def frost_texture(draws: Draws, height: int, width: int) -> Tensor:
    """(B, 3, H, W) in [0, 1]: patches of needles of ice, each patch in its own direction, and ridges between them.

    Needles are noise that is stretched along a direction, ridges the zeros of a noise (Musgrave 1993); both are looked
    up at places that a slow noise bends. A slow noise says how thick the ice is. The tint is a little blue.
    """
    bend = torch.stack([_noise(draws, 5, height, width) for _ in range(2)], dim=-1)  # (B, H, W, 2)
    places = _grid(height, width, draws.device) + 0.05 * bend
    patches = torch.stack([_noise(draws, 4, height, width) for _ in range(PATCHES)])
    shares = (6 * patches).softmax(0)  # (patches, B, H, W)
    angles = draws.uniform(0, math.pi, PATCHES)
    ice = torch.zeros(len(draws), height, width, device=draws.device)
    for share, angle in zip(shares, angles.T, strict=True):
        ice += share * _needles(draws, places, angle)
    cracks = (1 - _looked_up(draws.normal(1, 9, 9), places).abs()).clamp(min=0) ** 4
    thick = (0.75 + 0.3 * _noise(draws, 3, height, width)).clamp(0.25, 1)
    frost = (thick * (0.3 + 0.75 * ice + 0.55 * cracks)).clamp(0, 1)
    return frost[:, None] * torch.tensor(TINT, device=draws.device)[:, None, None]


def _needles(draws: Draws, places: Tensor, angle: Tensor) -> Tensor:
    """(B, H, W) in [0, 1], of two widths, along (B,) `angle`."""
    cos, sin = (turn(angle)[:, None, None] for turn in (torch.cos, torch.sin))
    x, y = places.unbind(-1)
    turned = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1) / math.sqrt(2)  # within the noise's square
    blurred = torch.zeros_like(x)
    for across, along, weight in NEEDLES:
        blurred += weight * (1 - 1.2 * _looked_up(draws.normal(1, across, along), turned).abs()).clamp(min=0)
    return blurred


def _looked_up(noise: Tensor, places: Tensor) -> Tensor:
    """(B, 1, h, w) noise at (B, H, W, 2) places in [-1, 1] -> (B, H, W)."""
    return F.grid_sample(noise, places, mode="bilinear", padding_mode="reflection", align_corners=False)[:, 0]


def _noise(draws: Draws, cells: int, height: int, width: int) -> Tensor:
    """(B, H, W) smooth noise of about unit deviation, with `cells` cells across."""
    coarse = draws.normal(1, cells, cells)
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[:, 0] * 1.3


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """(1, H, W, 2) x and y of the pixels' centres in grid_sample's units."""
    x, y = ((2 * torch.arange(side, device=device) + 1) / side - 1 for side in (width, height))
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)[None]
