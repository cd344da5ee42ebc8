"""`shapes[relation=...]`: pictures whose class is a relation between distant parts, so that no local cue reveals it.

same        are the figures at the left edge of the same kind as those at the right edge?
larger      is the disc of the cross's colour the larger one?
connected   are the two dots on the same curve?

The output of a network without a spatial mixer is a sum over windows of 63 pixels (stem and transitions see no further,
and the head adds up). Each relation is therefore the exclusive or of two facts that no such window contains together,
and each fact alone, like everything else in the picture, is independent of the class. A new relation is a function that
plans a picture, and an entry in RELATIONS.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stmbench.data.shapes.outlines import OUTLINES, Points
from stmbench.data.shapes.scene import FINER, noise
from stmbench.errors import UnknownNameError

RELATIONS_VERSION = "shapes.relations.v1"  # increase it if any picture changes
ROUND = 4  # pictures: each combination of a relation's two facts once, the classes in turn

# A centre crop of 0.875 keeps everything at this distance from the edge, in units of the picture's side.
MARGIN = 0.0625
# The distance between the two parts of a relation. At 96 pixels, enlarged to 109 for such a crop, it is 65 pixels,
# more than the 63 that stem and transitions see. Without a crop it is 58: units of the last map are 32 apart, and none
# sees both.
GAP = 0.6
STRIP = (1 - GAP) / 2 - MARGIN  # the width that remains for each part
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.9, 0.2, 0.15),
    "green": (0.2, 0.75, 0.25),
    "blue": (0.25, 0.45, 1.0),
}
GRAIN, CELLS = 0.02, 48  # of the background's noise: its strength and its cells per side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with an outline of `outlines` and a colour of COLOURS; lengths in units of the picture's side."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    turn: float = 0.0  # radians

    def outline(self) -> Points:
        """Its (n, 2) polygon; no kind in use has a hole."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        matrix = self.radius * np.array([[cos, -sin], [sin, cos]])
        return OUTLINES[self.kind].outer @ matrix.T + (self.x, self.y)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A smooth curve through (n, 2) points."""

    points: Points
    colour: str
    width: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A picture before it is drawn: curves, and in front of them groups of figures that are at least GAP apart.

    `label` is the index into the relation's classes, `ground` the grey of the background.
    """

    label: int
    ground: float
    groups: tuple[tuple[Figure, ...], ...]
    curves: tuple[Curve, ...] = ()


def ground(random: np.random.Generator) -> float:
    """A random dark grey."""
    return float(random.uniform(0.05, 0.2))


def draw(plan: Plan, random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """The (size, size, 3) picture."""
    side = size * FINER
    canvas = Image.new("RGB", (side, side), _rgb(plan.ground, plan.ground, plan.ground))
    pen = ImageDraw.Draw(canvas)
    for curve in plan.curves:
        corners = [(float(x), float(y)) for x, y in curve.points * side]
        pen.line(corners, fill=_rgb(*COLOURS[curve.colour]), width=round(curve.width * side), joint="curve")
    for figure in itertools.chain(*plan.groups):
        pen.polygon((figure.outline() * side).ravel().tolist(), fill=_rgb(*COLOURS[figure.colour]))
    picture = np.asarray(canvas.reduce(FINER), dtype=np.float32) / np.float32(255)
    picture += GRAIN * noise(random, CELLS, size)[..., None]
    image: NDArray[np.uint8] = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return image


def _rgb(*shares: float) -> tuple[int, ...]:
    return tuple(round(255 * share) for share in shares)


# --- same ---

SAME_CLASSES = ("different", "same")
SAME_KINDS = (("disc", "red"), ("square", "blue"))
FIGURES_PER_COLUMN = 6  # of figures in a column
SAME_RADII = (0.85, 1.0)  # of the largest that fits into its strip
MAX_TILT = 0.2  # radians to either side


def plan_same(first: int, second: int, random: np.random.Generator) -> Plan:
    """See `Planner`: the facts are the kinds on the left and on the right.

    Kind and colour go together, so that recognition is easy and the comparison is what has to be learnt.
    """
    columns = tuple(_column(SAME_KINDS[fact], edge, random) for edge, fact in enumerate((first, second)))
    return Plan(label=int(first == second), ground=ground(random), groups=columns)


def _column(kind: tuple[str, str], edge: int, random: np.random.Generator) -> tuple[Figure, ...]:
    """Figures at the left (0) or right (1) edge, from top to bottom, slightly out of line."""
    height = (1 - 2 * MARGIN) / FIGURES_PER_COLUMN  # available to one figure, more than STRIP
    name, colour = kind
    figures = []
    for number in range(FIGURES_PER_COLUMN):
        radius = STRIP / 2 * float(random.uniform(*SAME_RADII))
        across, down = (float(random.uniform(radius, room - radius)) for room in (STRIP, height))
        x, y = MARGIN + across, MARGIN + height * number + down
        turn = float(random.uniform(-MAX_TILT, MAX_TILT))
        figures.append(Figure(kind=name, colour=colour, x=1 - x if edge else x, y=y, radius=radius, turn=turn))
    return tuple(figures)


# --- larger ---

LARGER_CLASSES = ("smaller", "larger")
PAIR_COLOURS = ("red", "blue")
LARGER_RADII = {"large": (0.9, 1.0), "small": (0.45, 0.55)}  # of the largest that fits into its corner


def plan_larger(first: int, second: int, random: np.random.Generator) -> Plan:
    """See `Planner`: the facts are which disc is large, and the colour of the cross.

    Without the cross, sizes weighted by colour would add up to the answer, window by window.
    """
    corners = random.permutation(4)[:3]
    mark = _corner_figure("cross", PAIR_COLOURS[second], "large", int(corners[0]), random)
    discs = [
        _corner_figure("disc", colour, "large" if number == first else "small", int(corner), random)
        for number, (colour, corner) in enumerate(zip(PAIR_COLOURS, corners[1:], strict=True))
    ]
    return Plan(label=int(first == second), ground=ground(random), groups=tuple((part,) for part in (mark, *discs)))


def _corner_figure(kind: str, colour: str, size: str, corner: int, random: np.random.Generator) -> Figure:
    radius = STRIP / 2 * float(random.uniform(*LARGER_RADII[size]))
    x, y = (MARGIN + float(random.uniform(radius, STRIP - radius)) for _ in range(2))
    return Figure(kind=kind, colour=colour, x=1 - x if corner % 2 else x, y=1 - y if corner // 2 else y, radius=radius)


# --- connected ---

CONNECTED_CLASSES = ("apart", "connected")
CURVE_WIDTH = 0.025
CURVE_SWING = 0.18  # how far a curve deviates from the straight line between its ends
DOT_RADII = (0.85, 1.0)  # of the largest dot that fits into its strip


def plan_connected(first: int, second: int, random: np.random.Generator) -> Plan:
    """See `Planner`: the facts are the curves with the dot at the left and at the right edge.

    A red and a blue curve run from edge to edge, and there is a dot on one end at each edge.
    """
    ends = np.stack([random.permutation([0.25, 0.75]) for _ in range(2)], axis=1)  # (curve, edge) heights
    ends += random.uniform(-0.1, 0.1, (2, 2))
    curves, dots = [], []
    t = np.linspace(0, 1, 60)
    for colour, (start, stop) in zip(PAIR_COLOURS, ends, strict=True):
        waves = random.uniform(-1, 1, 2) @ np.sin(np.pi * np.outer((1, 2), t)) / 2
        ease = t * t * (3 - 2 * t)
        x = MARGIN + STRIP / 2 + t * (1 - 2 * MARGIN - STRIP)
        y = start + (stop - start) * ease + CURVE_SWING * waves
        curves.append(Curve(points=np.stack([x, y], axis=1), colour=colour, width=CURVE_WIDTH))
    for edge, curve in enumerate((first, second)):
        across, down = (float(value) for value in curves[curve].points[-edge])
        radius = STRIP / 2 * float(random.uniform(*DOT_RADII))
        dots.append((Figure(kind="disc", colour=PAIR_COLOURS[curve], x=across, y=down, radius=radius),))
    return Plan(label=int(first == second), ground=ground(random), groups=tuple(dots), curves=tuple(curves))


# --- the relations by name ---


# first fact, second fact (0 or 1 each), random numbers -> a plan; its label is whether the facts agree
Planner = Callable[[int, int, np.random.Generator], Plan]


class Relation(NamedTuple):
    """The names of the two classes, and the function that plans a picture."""

    classes: tuple[str, ...]
    plan: Planner


RELATIONS: Mapping[str, Relation] = {
    "same": Relation(SAME_CLASSES, plan_same),
    "larger": Relation(LARGER_CLASSES, plan_larger),
    "connected": Relation(CONNECTED_CLASSES, plan_connected),
}


class RelationScene(NamedTuple):
    """A (size, size, 3) uint8 image, and the plan that it was drawn from."""

    image: NDArray[np.uint8]
    plan: Plan


def relation_named(name: str) -> Relation:
    """The relation of this name. Raises UnknownNameError."""
    if name not in RELATIONS:
        raise UnknownNameError("relation of shapes", name, RELATIONS)
    return RELATIONS[name]


def relation_scene(seed: int, index: int, size: int, relation: str) -> RelationScene:
    """Picture `index`; its label is `index` modulo 2, and the facts are balanced in any four from a multiple of 4."""
    first, label = divmod(index % ROUND, 2)
    random = np.random.default_rng((seed, index, *relation.encode()))
    plan = relation_named(relation).plan(first, first if label else 1 - first, random)
    return RelationScene(draw(plan, random, size), plan)
