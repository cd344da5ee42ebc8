"""Points of a scatter plot with their whiskers and names, and the values that a tooltip shows.

Names are written next to the points where they cover nothing, and in a legend where there are many.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from stmbench.figures.plot_data import Point
from stmbench.figures.style import INK, MUTED, shorten
from stmbench.tables.rows import display, number


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
    shown = display(metric, values=[point.value])
    unit = f" {shown.unit}" if shown.unit else ""
    place = f" {point.condition}" if point.condition else ""
    place += "" if math.isnan(point.level) else f"{shown.before_level}{point.level:g}"
    text = f"{point.label}: {shown.name}{place}, {number(point.value, metric, shown)}{unit}"
    if point.errors is not None:
        text += f" (95 %: {number(point.low, metric, shown)} to {number(point.high, metric, shown)})"
    return text if point.flaw is None else f"{text}, {point.flaw}"


def marks_in(figure: Figure) -> dict[str, Mark]:
    """Number the marked artists of a figure (their gid becomes the key), in the order they are drawn in."""
    marks: dict[str, Mark] = {}
    for artist in figure.findobj():
        arrow = artist.arrow_patch if isinstance(artist, Annotation) else None
        for part in (artist, arrow):
            if part is not None and artist in _MARKS:
                gid = f"mark-{len(marks) + 1}"
                part.set_gid(gid)
                marks[gid] = _MARKS[artist]
    return marks


MOST_BESIDE: Final = 10  # points beyond which names beside them cannot be told apart
ANGLES: Final = (0, 180, 90, 270, 45, 315, 135, 225)  # degrees; right of the point first
DISTANCES: Final = (9, 16, 26, 40, 56)  # points


def name_points(figure: Figure, axes: Axes, chosen: list[tuple[Point, float, float]]) -> None:
    """Fix the layout, then write each point's label near its (x, y) in data units; far ones get a thin leader line.

    Greedy from the left: the first free place among the candidates. Many points get a legend instead.
    """
    if len(chosen) > MOST_BESIDE:
        _legend(figure, [point for point, _, _ in chosen])
        figure.draw_without_rendering()
        return
    figure.draw_without_rendering()  # fixes the layout, so that places in data units have places on the page
    dot = 5 * figure.dpi / 72
    places = [tuple(map(float, axes.transData.transform((x, y)))) for _, x, y in chosen]
    taken = [Bbox.from_bounds(x - dot, y - dot, 2 * dot, 2 * dot) for x, y in places]
    frame = axes.get_window_extent()
    for index in sorted(range(len(chosen)), key=lambda i: places[i][0]):
        point, x, y = chosen[index]
        label = axes.annotate(
            shorten(point.label),
            (x, y),
            (0, 0),
            textcoords="offset points",
            fontsize=8.5,
            ha="center",
            va="center",
            zorder=3.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )
        mark(label, point.key)
        size = label.get_window_extent()
        offset, box = _free(places[index], size, figure.dpi / 72, taken, frame)
        label.set_position(offset)
        taken.append(box)
        if math.hypot(offset[0], offset[1]) - size.width * 36 / figure.dpi > 14:
            _lead(axes, label, point)


def room_for_names(chosen: Sequence[Point]) -> tuple[float, float]:
    """Width and height in inches of a scatter with these points' names."""
    return (7.0, 4.6) if len(chosen) <= MOST_BESIDE else (9.2, max(4.6, 1.0 + 0.2 * len(_entries(chosen))))


def _entries(chosen: Sequence[Point]) -> dict[str, Point]:
    """What a legend says: of models in several settings the models, as no sign is left for a setting."""
    names = {point.name: point for point in reversed(chosen)}
    labels = {point.label: point for point in reversed(chosen)}
    shorter = names if 2 * len(names) <= len(labels) else labels
    return dict(reversed(shorter.items()))


def _legend(figure: Figure, chosen: list[Point]) -> None:
    entries = _entries(sorted(chosen, key=lambda point: -point.value))
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MarkerStyle(point.style.marker),
            color=point.style.colour,
            label=shorten(name),
            markersize=7,
        )
        for name, point in entries.items()
    ]
    legend = figure.legend(handles=handles, loc="outside right upper", fontsize=8, handletextpad=0.3)
    mark_legend(legend, [point.key for point in entries.values()])


def _free(
    place: tuple[float, ...], size: Bbox, scale: float, taken: list[Bbox], frame: Bbox
) -> tuple[tuple[float, float], Bbox]:
    """The offset (points) and box (pixels) of the candidate that overlaps least, the nearest first."""
    best: tuple[float, tuple[float, float], Bbox] | None = None
    for distance in DISTANCES:
        for angle in ANGLES:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            # from the point's edge to the middle of the text, whose half width counts sideways
            dx = cos * (distance + size.width / scale / 2)
            dy = sin * (distance + (size.height / scale / 2 if abs(sin) > 0.1 else 0))
            x, y = place[0] + dx * scale, place[1] + dy * scale
            box = Bbox.from_bounds(x - size.width / 2, y - size.height / 2, size.width, size.height)
            cost = sum(_overlap(box, other) for other in taken) + 4 * (size.width * size.height - _overlap(box, frame))
            if cost < 1e-6:
                return (dx, dy), box
            if best is None or cost < best[0]:
                best = (cost, (dx, dy), box)
    assert best is not None
    return best[1], best[2]


def _overlap(a: Bbox, b: Bbox) -> float:
    shared = Bbox.intersection(a, b)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _lead(axes: Axes, label: Annotation, point: Point) -> None:
    x, y = label.get_position()
    line = axes.annotate(
        "", label.xy, (x, y), textcoords="offset points", zorder=3,
        arrowprops={"arrowstyle": "-", "color": point.style.colour, "linewidth": 0.6, "alpha": 0.7, "shrinkA": 8,
                    "shrinkB": 3},
    )  # fmt: skip
    mark(line, point.key)


def draw_points(axes: Axes, drawn: list[tuple[Point, float, float, float]], metric: str) -> None:
    """Markers at (x, y) with the interval of the point's metric as whiskers; the last number converts to the axis."""
    for point, x, y, factor in drawn:
        colour, marker, _ = point.style
        if point.errors is not None:
            whiskers = [[length / factor] for length in point.errors]
            bars = axes.errorbar(x, y, yerr=whiskers, color=INK, elinewidth=1.0, capsize=3, zorder=5)
            mark_point(bars, point, metric)
        inside = colour if point.resolved else "white"
        dot = axes.plot(
            x, y, linestyle="", marker=marker, markersize=8, color=inside, markeredgecolor=colour if not point.resolved
            else "white", markeredgewidth=1.4 if not point.resolved else 0.7, zorder=4,
        )  # fmt: skip
        mark_point(dot, point, metric)


def extent(drawn: list[tuple[Point, float, float, float]]) -> list[float]:
    """The y values and their interval's ends, as far as a log axis should reach: a decade from the value at most."""
    ends = []
    for point, _, y, factor in drawn:
        ends.append(y)
        if point.errors is not None:
            ends += [max(point.low / factor, y / 10), min(point.high / factor, y * 10)]
    return ends


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
