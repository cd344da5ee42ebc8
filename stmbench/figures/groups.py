"""Rows of a figure by the setting that they were measured in, with a heading over each where there are several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes

from stmbench.figures.annotations import mark
from stmbench.figures.plot_data import Point
from stmbench.figures.style import MUTED, rows_axis


def within(chosen: Iterable[Point]) -> dict[tuple[Any, ...], list[Point]]:
    """Setting -> the points that may be compared there; settings and points keep their order."""
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in chosen:
        groups.setdefault(point.comparable, []).append(point)
    return groups


class Rows(NamedTuple):
    """From the top down: a point, or the words of a heading; and what is written beside each."""

    items: list[Point | str]
    names: list[str]

    @property
    def points(self) -> list[tuple[int, Point]]:
        """(row, point), headings left out."""
        return [(row, item) for row, item in enumerate(self.items) if isinstance(item, Point)]


def by_setting(chosen: Sequence[Point], key: Callable[[Point], Any]) -> Rows:
    """Points sorted by `key` within each setting; settings keep the order in which they come.

    Where settings that may be compared are about as many as points (one checkpoint a model, say) nothing is gained by
    headings: then all are sorted together, and each says its own. Those that may not be compared always stand apart.
    """
    settings = list(dict.fromkeys(point.setting for point in chosen))
    if len(settings) == 1 or 2 * len(settings) > len(chosen):
        apart = list(within(chosen).values())
        flat = [point for group in apart for point in sorted(group, key=key)]
        return Rows([*flat], [point.label for point in flat])
    items: list[Point | str] = []
    for setting in settings:
        items += [setting, *sorted((point for point in chosen if point.setting == setting), key=key)]
    return Rows(items, [item if isinstance(item, str) else item.name for item in items])


def setting_axis(axes: Axes, rows: Rows) -> None:
    """`rows_axis` of the rows; headings are bold, names belong to their models."""
    rows_axis(axes, rows.names)
    for tick, item in zip(axes.get_yticklabels(), rows.items, strict=True):
        if isinstance(item, str):
            tick.set(fontweight="bold", color=MUTED)
        else:
            mark(tick, item.model)


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
