"""Polygons and lines to pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from stmbench.data.shapes.outlines import Points
from stmbench.data.shapes.surfaces import Floats

FINER = 3  # drawn so many times larger, then averaged: that is the antialiasing


def coverage(polygons: list[Points], size: int) -> Floats:
    """(size, size) the share of each pixel that lies within the first polygon and not within the second.

    Points are in units of the picture's side.
    """
    canvas = Image.new("L", (size * FINER, size * FINER))
    draw = ImageDraw.Draw(canvas)
    for fill, points in zip((255, 0), polygons, strict=False):
        draw.polygon((points * (size * FINER)).ravel().tolist(), fill=fill)
    return np.asarray(canvas.reduce(FINER), dtype=np.float32) / np.float32(255)


def stroke(points: Points, width: float, size: int) -> Floats:
    """(size, size) the share of each pixel that lies under a line of a width, both in units of the picture's side."""
    canvas = Image.new("L", (size * FINER, size * FINER))
    side = size * FINER
    line = [(float(x), float(y)) for x, y in points * side]
    ImageDraw.Draw(canvas).line(line, fill=255, width=max(1, round(width * side)), joint="curve")
    return np.asarray(canvas.reduce(FINER), dtype=np.float32) / np.float32(255)
