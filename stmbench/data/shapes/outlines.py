"""The outlines of the classes of figures: polygons around (0, 0) with a radius of at most 1; x points right, y down.

Rotation, mirroring, shear and moderate changes of aspect, which figures undergo, never turn one class into another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2)


class Outline(NamedTuple):
    """A polygon, and optionally a hole in it."""

    outer: Points
    hole: Points | None = None


def _arc(start: float, end: float, *, radius: float = 1.0, steps: int = 40) -> Points:
    """(steps, 2) points of a circle from one angle in degrees to another."""
    angles = np.radians(np.linspace(start, end, steps))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _regular(corners: int) -> Points:
    return _arc(-90, -90 + 360 * (corners - 1) / corners, steps=corners)


def _star() -> Points:
    points = _arc(-90, -90 + 360 * 9 / 10, steps=10)
    points[1::2] *= 0.4
    return points


def _crescent() -> Points:
    """A disc of radius 0.8 about (0.5, 0) taken from the unit disc."""
    x = (1 - 0.8**2 + 0.5**2) / (2 * 0.5)  # where the two circles meet
    outer, inner = np.degrees(np.arccos(x)), np.degrees(np.arccos((x - 0.5) / 0.8))
    bite = 0.8 * _arc(360 - inner, inner) + np.array([0.5, 0.0])
    bow = np.concatenate([_arc(outer, 360 - outer), bite])
    return np.asarray(bow + np.array([0.2, 0.0]))


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1) / 17


def _of(*points: tuple[float, float]) -> Points:
    return np.asarray(points, dtype=np.float64)


def _bar_cross(half: float) -> Points:
    a, b = half, 0.95
    return _of(
        *((-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)),
        *((a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)),
    )


_MAKERS: Mapping[str, Callable[[], Outline]] = {
    "disc": lambda: Outline(_arc(0, 351, steps=40)),
    "ring": lambda: Outline(_arc(0, 351, steps=40), _arc(0, 351, radius=0.55, steps=40)),
    "half_disc": lambda: Outline(_arc(0, 180) - (0, 0.4)),
    "crescent": lambda: Outline(_crescent()),
    "triangle": lambda: Outline(_regular(3)),
    "square": lambda: Outline(_of((-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75))),
    "pentagon": lambda: Outline(_regular(5)),
    "star": lambda: Outline(_star()),
    "cross": lambda: Outline(_bar_cross(0.28)),
    "heart": lambda: Outline(_heart()),
    "arrow": lambda: Outline(
        _of((-0.95, -0.22), (0.1, -0.22), (0.1, -0.65), (0.95, 0), (0.1, 0.65), (0.1, 0.22), (-0.95, 0.22))
    ),
    "corner": lambda: Outline(
        _of((-0.75, -0.85), (-0.2, -0.85), (-0.2, 0.3), (0.75, 0.3), (0.75, 0.85), (-0.75, 0.85))
    ),
}
CLASSES = tuple(_MAKERS)
OUTLINES: Mapping[str, Outline] = {name: make() for name, make in _MAKERS.items()}
