"""What a relational picture is made of, and how it is drawn: figures and lines in few colours on a plain ground."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stmbench.data.shapes.outlines import OUTLINES, Points
from stmbench.data.shapes.scene import FINER
from stmbench.data.shapes.surfaces import noise

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

    def outline(self) -> Points:
        """(n, 2) its polygon; no kind in use has a hole."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        matrix = self.radius * np.array([[cos, -sin], [sin, cos]])
        return OUTLINES[self.kind].outer @ matrix.T + (self.x, self.y)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A smooth line through (n, 2) points."""

    points: Points
    colour: str
    width: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A picture before it is drawn: lines, and before them figures in groups, which lie at least GAP apart.

    `label` is the place in the relation's classes, `ground` a grey.
    """

    label: int
    ground: float
    groups: tuple[tuple[Figure, ...], ...]
    lines: tuple[Line, ...] = ()


def ground(random: np.random.Generator) -> float:
    """A dark grey."""
    return float(random.uniform(0.05, 0.2))


def draw(plan: Plan, random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) the picture."""
    side = size * FINER
    canvas = Image.new("RGB", (side, side), _rgb(plan.ground, plan.ground, plan.ground))
    pen = ImageDraw.Draw(canvas)
    for line in plan.lines:
        corners = [(float(x), float(y)) for x, y in line.points * side]
        pen.line(corners, fill=_rgb(*COLOURS[line.colour]), width=round(line.width * side), joint="curve")
    for figure in itertools.chain(*plan.groups):
        pen.polygon((figure.outline() * side).ravel().tolist(), fill=_rgb(*COLOURS[figure.colour]))
    picture = np.asarray(canvas.reduce(FINER), dtype=np.float32) / np.float32(255)
    picture += GRAIN * noise(random, CELLS, size)[..., None]
    image: NDArray[np.uint8] = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return image


def _rgb(*shares: float) -> tuple[int, ...]:
    return tuple(round(255 * share) for share in shares)
