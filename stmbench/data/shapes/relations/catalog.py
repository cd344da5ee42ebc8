"""The relations by name, and one picture: a pure function of (seed, index, size, relation)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stmbench.data.shapes.relations import connected, larger, same
from stmbench.data.shapes.relations.picture import Plan, draw
from stmbench.errors import UnknownNameError

VERSION = "shapes.relations.v1"  # raise it when any picture changes
ROUND = 4  # pictures: each of the four combinations of a relation's two facts once, the classes in turn

# first fact, second fact (0 or 1), all else -> the plan of a picture; its label is whether the facts agree
Planner = Callable[[int, int, np.random.Generator], Plan]


class Relation(NamedTuple):
    """The names of the two classes, and what plans a picture."""

    classes: tuple[str, ...]
    plan: Planner


RELATIONS: Mapping[str, Relation] = {
    "same": Relation(same.CLASSES, same.plan),
    "larger": Relation(larger.CLASSES, larger.plan),
    "connected": Relation(connected.CLASSES, connected.plan),
}


class RelationScene(NamedTuple):
    """`image` (size, size, 3) uint8, and the plan that it was drawn from."""

    image: NDArray[np.uint8]
    plan: Plan


def relation_named(name: str) -> Relation:
    """A relation. Raises UnknownNameError."""
    if name not in RELATIONS:
        raise UnknownNameError("relation of shapes", name, RELATIONS)
    return RELATIONS[name]


def relation_scene(seed: int, index: int, size: int, relation: str) -> RelationScene:
    """Picture `index`; its label is `index` modulo 2, and any four from a multiple of four show the facts balanced."""
    first, label = divmod(index % ROUND, 2)
    random = np.random.default_rng((seed, index, *relation.encode()))
    plan = relation_named(relation).plan(first, first if label else 1 - first, random)
    return RelationScene(draw(plan, random, size), plan)
