"""Whose an artist is, and the values that a tooltip shows; words along a line."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Annotation

from stmbench.figures.plot_data import Point
from stmbench.figures.style import MUTED
from stmbench.tables.rows import display, number


class Mark(NamedTuple):
    """The model that an artist belongs to, and its values in words; '' says nothing."""

    model: str
    text: str


# beside the artists, not in their gid: a saved figure then has no odd ids, and keeps its bytes
_MARKS: Final[weakref.WeakKeyDictionary[Artist, Mark]] = weakref.WeakKeyDictionary()

Artists = Artist | None | Iterable["Artists"]


def mark(artists: Artists, model: str, text: str = "") -> None:
    """Remember for an artist, or for all in nested containers (matplotlib's error bars), whose they are."""
    if artists is None:
        return
    if isinstance(artists, Artist):
        _MARKS[artists] = Mark(model, text)
        return
    for artist in artists:
        mark(artist, model, text)


def mark_point(artists: Artists, point: Point, metric: str) -> None:
    """`mark` with a point's model, label, value and interval."""
    mark(artists, point.model, words(point, metric))


def mark_legend(legend: Legend, models: Sequence[str]) -> None:
    """The first entries of a legend belong to these models, in order."""
    for model, entry in zip(models, zip(legend.legend_handles, legend.get_texts(), strict=True), strict=False):
        mark(entry, model)


def words(point: Point, metric: str) -> str:
    """A value for those who hover: 'DW-Conv: throughput, 131.0 images/s (95 %: 129.0 to 132.8)'."""
    shown = display(metric, values=[point.value])
    unit = f" {shown.unit}" if shown.unit else ""
    place = f" {point.condition}" if point.condition else ""
    place += "" if math.isnan(point.level) else f"{shown.before_level}{point.level:g}"
    text = f"{point.label}: {shown.name}{place}, {number(point.value, metric, shown)}{unit}"
    if point.errors is not None:
        text += f" (95 %: {number(point.low, metric, shown)} to {number(point.high, metric, shown)})"
    return text if point.flaw is None else f"{text}, {point.flaw}"


def marks_in(figure: Figure) -> dict[str, Mark]:
    """Number the marked artists of a figure (their gid becomes the key), in the order they were marked in."""
    marks: dict[str, Mark] = {}
    for artist, its_mark in _MARKS.items():  # quicker than a search through all artists, which makes every tick
        if artist.figure is figure:
            arrow = artist.arrow_patch if isinstance(artist, Annotation) else None
            for part in filter(None, (artist, arrow)):
                gid = f"mark-{len(marks) + 1}"
                part.set_gid(gid)
                marks[gid] = its_mark
    return marks


def along(axes: Axes, text: str, x: float, y: float, slope: float, *, ends: bool = False) -> None:
    """Write `text` just above a line of the given slope (in log-log units), from (x, y) on, or up to it with `ends`."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    rise = slope * math.log(x1 / x0) / math.log(y1 / y0)  # in axes units
    box = axes.get_window_extent()
    angle = math.degrees(math.atan2(rise * box.height, box.width))
    axes.text(
        x, y, text, rotation=angle, rotation_mode="anchor", ha="right" if ends else "left", va="bottom", fontsize=7.5,
        color=MUTED, zorder=1, clip_on=True,
    )  # fmt: skip
