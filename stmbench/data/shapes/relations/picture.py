"""What a relational picture is made of, and how it is drawn: figures and lines in few colours on a plain ground."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from stmbench.data.shapes.drawing import coverage, stroke
from stmbench.data.shapes.outlines import OUTLINES, Points
from stmbench.data.shapes.surfaces import Floats, noise

# A centre crop of 0.875 keeps all of what lies this far from the edge, in units of the picture's side.
MARGIN = 0.0625
# Between the two parts that a relation is of. At 96 pixels, enlarged for such a crop to 109, it is 65 pixels: wider
# than the 63 that stem and transitions see. Shown whole, 58: units of the last map are 32 apart, none sees both.
GAP = 0.6
STRIP = (1 - GAP) / 2 - MARGIN  # the width that is left for either part
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.9, 0.2, 0.15),
    "green": (0.2, 0.75, 0.25),
    "blue": (0.25, 0.45, 1.0),
}
GRAIN, CELLS = 0.02, 48  # of the ground: how strong its noise is, and how fine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a kind of `outlines` in a colour of COLOURS; lengths in units of the picture's side."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    turn: float = 0.0  # radians

    def polygons(self) -> list[Points]:
        """Its outline, and the hole second."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        matrix = self.radius * np.array([[cos, -sin], [sin, cos]])
        return [points @ matrix.T + (self.x, self.y) for points in OUTLINES[self.kind] if points is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A smooth line through (n, 2) points."""

    points: Points
    colour: str
    width: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A picture before it is drawn; the last part is in front. `label` is the place in the relation's classes."""

    label: int
    ground: float  # grey
    parts: tuple[Figure | Line, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The parts that are figures."""
        return tuple(part for part in self.parts if isinstance(part, Figure))


def ground(random: np.random.Generator) -> float:
    """A dark grey."""
    return float(random.uniform(0.05, 0.2))


def draw(plan: Plan, random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) the picture."""
    picture = np.full((size, size, 3), plan.ground, dtype=np.float32)
    for part in plan.parts:
        cover = stroke(part.points, part.width, size) if isinstance(part, Line) else coverage(part.polygons(), size)
        paint: Floats = np.array(COLOURS[part.colour], dtype=np.float32)
        picture += cover[..., None] * (paint - picture)
    picture += GRAIN * noise(random, CELLS, size)[..., None]
    image: NDArray[np.uint8] = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return image
