"""Metrics of one subject belong together: its MACs were counted in one unit of work, its throughput in another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from stmbench.figures.plot_data import Point

BINDING: Final = ("resolution", "dtype", "device", "compile", "machine")  # where both points say so, they must agree
PREFERRED: Final = (*BINDING, "definition", "weights", "seed", "batch_size")


def match(point: Point, candidates: Iterable[Point]) -> Point | None:
    """The candidate of the same model and stage whose conditions agree best with the point's; the last of equals."""
    fitting = [other for other in candidates if _may_match(point, other)]
    return max(reversed(fitting), key=lambda other: _agreement(point, other), default=None)


def join(ys: Sequence[Point], xs: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Each y with its x; points without a partner are left out."""
    pairs = [(y, match(y, xs)) for y in ys]
    return [(y, x) for y, x in pairs if x is not None]


def alike(point: Point, other: Point) -> bool:
    """Whether the settings of two points agree in all that both say."""
    pairs = zip(point.comparable, other.comparable, strict=True)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def _may_match(a: Point, b: Point) -> bool:
    if a.model != b.model or a.facts["stage"] != b.facts["stage"]:
        return False
    if None not in (shapes := (_shape(a), _shape(b))) and shapes[0] != shapes[1]:
        return False
    return all(None in (a.facts[name], b.facts[name]) or a.facts[name] == b.facts[name] for name in BINDING)


def _shape(point: Point) -> str | None:
    """The input's shape, which the data's name ends with ('noise:3x224x320'): costs are those of a shape."""
    dataset = point.facts["dataset"]
    return None if dataset is None else str(dataset).rpartition(":")[2]


def _agreement(a: Point, b: Point) -> int:
    return sum(a.facts[name] == b.facts[name] for name in PREFERRED)
