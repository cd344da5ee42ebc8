"""Colours and textures: small random patterns, described without pixels, so that any size shows the same picture."""

from __future__ import annotations

import colorsys
import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

GRAIN = 24  # cells a side of the finest noise, whatever the picture's size
APART = 0.42  # of a figure's colour from the background's, in RGB of [0, 1]


def colour(random: np.random.Generator) -> Floats:
    """(3,) RGB in [0, 1], of any hue, saturation and brightness."""
    hue, saturation, value = random.uniform((0, 0.1, 0.12), 1).tolist()
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32)


def colour_unlike(other: Floats, random: np.random.Generator) -> Floats:
    """(3,) a colour that can be told from another."""
    while True:
        found = colour(random)
        if np.square(found - other).sum() > APART**2:
            return found


@functools.lru_cache(maxsize=8)
def coordinates(size: int) -> tuple[Floats, Floats]:
    """x and y of the pixels' centres in [0, 1], (1, size) and (size, 1)."""
    along: Floats = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return along[None, :], along[:, None]


def noise(random: np.random.Generator, cells: int, size: int) -> Floats:
    """(size, size) smooth noise of about unit deviation, `cells` bumps a side."""
    grid = random.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def texture(random: np.random.Generator, size: int) -> Floats:
    """(size, size) about 0, of about unit size: stripes, checks, dots, clouds or nothing, at any angle and scale."""
    kind = int(random.integers(5))
    angle, frequency, phase = random.uniform((0, 4, 0), (np.pi, 14, 2 * np.pi)).tolist()
    if kind == 3:
        return noise(random, int(frequency), size)
    if kind == 4:
        return np.zeros((size, size), dtype=np.float32)
    x, y = coordinates(size)
    # plain floats: numpy's own would turn every picture into doubles
    along, across = 2 * math.pi * frequency * math.cos(angle), 2 * math.pi * frequency * math.sin(angle)
    waves: Floats = np.sin(along * x + across * y + phase)
    if kind in (1, 2):
        waves *= np.sin(along * y - across * x)
        waves = (4 * waves).clip(-1, 1) if kind == 1 else np.abs(waves) * 2 - 1
    return waves


def surface(base: Floats, random: np.random.Generator, size: int, *, strength: float) -> Floats:
    """(size, size, 3) a colour with a texture and a slope of light over it; not clipped."""
    tint = base + random.uniform(-strength, strength, 3).astype(np.float32)
    x, y = coordinates(size)
    to_right, down = random.uniform(-0.36, 0.36, 2).tolist()
    light = to_right * (x - 0.5) + down * (y - 0.5)
    weight = 0.5 + 0.5 * texture(random, size)
    picture: Floats = weight[..., None] * (tint - base)
    picture += base
    picture += light[..., None]
    return picture
