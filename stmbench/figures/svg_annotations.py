"""Whose marks are whose: artists remember their mixer and what they say, so that a page can toggle and explain them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Annotation

from stmbench.figures.display_units import display, number
from stmbench.figures.plot_data import Point


class Mark(NamedTuple):
    """The mixer (or the model without one) that an artist belongs to, and its values in words; '' says nothing."""

    mixer: str
    text: str


# beside the artists, not in their gid: a saved figure then has no odd ids, and keeps its bytes
_MARKS: Final[weakref.WeakKeyDictionary[Artist, Mark]] = weakref.WeakKeyDictionary()

Artists = Artist | None | Iterable["Artists"]


def mark(artists: Artists, mixer: str, text: str = "") -> None:
    """Remember for an artist, or for all in nested containers (matplotlib's error bars), whose they are."""
    if artists is None:
        return
    if isinstance(artists, Artist):
        _MARKS[artists] = Mark(mixer, text)
        return
    for artist in artists:
        mark(artist, mixer, text)


def mark_point(artists: Artists, point: Point, metric: str) -> None:
    """`mark` with a point's mixer, label, value and interval."""
    mark(artists, point.key, words(point, metric))


def mark_legend(legend: Legend, keys: Sequence[str]) -> None:
    """The first entries of a legend belong to these mixers, in order."""
    for key, entry in zip(keys, zip(legend.legend_handles, legend.get_texts(), strict=True), strict=False):
        mark(entry, key)


def words(point: Point, metric: str) -> str:
    """A value for those who hover: 'DW-Conv: throughput, 131.0 images/s (95 %: 129.0 to 132.8)'."""
    shown = display(metric)
    unit = f" {shown.unit}" if shown.unit else ""
    place = f" {point.condition}" if point.condition else ""
    place += "" if math.isnan(point.level) else f"{shown.before_level}{point.level:g}"
    text = f"{point.label}: {shown.name}{place}, {number(point.value, metric)}{unit}"
    if point.errors is not None:
        text += f" (95 %: {number(point.low, metric)} to {number(point.high, metric)})"
    return text if point.flaw is None else f"{text}, {point.flaw}"


def marks_in(figure: Figure) -> dict[str, Mark]:
    """Number the marked artists of a figure (their gid becomes the key), in the order they are drawn in."""
    found: dict[str, Mark] = {}
    for artist in figure.findobj():
        arrow = artist.arrow_patch if isinstance(artist, Annotation) else None
        for part in (artist, arrow):
            if part is not None and artist in _MARKS:
                gid = f"mark-{len(found) + 1}"
                part.set_gid(gid)
                found[gid] = _MARKS[artist]
    return found
