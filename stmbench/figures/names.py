"""Names beside the marks of a scatter plot where they cover no mark, whisker or other name; else in a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.plot_data import Point
from stmbench.figures.style import shorten
from stmbench.figures.whiskers import boxes

MOST_BESIDE: Final = 10  # points beyond which names beside them cannot be told apart
ANGLES: Final = (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 293, 113, 247)  # degrees; right first
DISTANCES: Final = (9, 16, 26, 40, 56, 75, 100)  # points
WITH_LEGEND: Final = 9.2  # inches


def name_points(figure: Figure, axes: Axes, chosen: list[tuple[Point, float, float]]) -> None:
    """Fix the layout, then write each point's label near its (x, y) in data units; far ones get a thin leader line.

    Call it last: a name is put where it covers no mark, whisker or other name, and if it can be no words either. Where
    one has no such place, and where there are many, all are in a legend.
    """
    figure.draw_without_rendering()  # fixes the layout, so that places in data units have places on the page
    if len(chosen) <= MOST_BESIDE and _all_beside(figure, axes, chosen):
        return
    figure.set_size_inches(max(WITH_LEGEND, figure.get_figwidth()), figure.get_figheight())
    _legend(figure, [point for point, _, _ in chosen])
    figure.draw_without_rendering()


def room_for_names(chosen: Sequence[Point]) -> tuple[float, float]:
    """Width and height in inches of a scatter with these points' names."""
    beside = len(chosen) <= MOST_BESIDE
    return (7.0, 4.6) if beside else (WITH_LEGEND, max(4.6, 1.0 + 0.2 * len(_entries(chosen))))


def _all_beside(figure: Figure, axes: Axes, chosen: list[tuple[Point, float, float]]) -> bool:
    """Write the names, from the left; False, and none is written, where one would cover something."""
    dot, scale = 5 * figure.dpi / 72, figure.dpi / 72
    places = [tuple(map(float, axes.transData.transform((x, y)))) for _, x, y in chosen]
    taken = [Bbox.from_bounds(x - dot, y - dot, 2 * dot, 2 * dot) for x, y in places] + boxes(axes)
    said = [text.get_window_extent() for text in axes.texts]
    frame, drawn = axes.get_window_extent(), list[Annotation]()
    for index in sorted(range(len(chosen)), key=lambda i: places[i][0]):
        point, x, y = chosen[index]
        label = axes.annotate(
            shorten(point.label), (x, y), (0, 0), textcoords="offset points", fontsize=8.5, ha="center", va="center",
            zorder=6, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip
        label.set_in_layout(False)
        drawn.append(label)
        size = label.get_window_extent()
        found = _free(places[index], size, scale, taken, said, frame)
        if found is None:
            for written in drawn:
                written.remove()
            return False
        offset, box = found
        mark(label, point.model)
        label.set_position(offset)
        taken.append(box)
        if math.hypot(offset[0], offset[1]) - size.width * 36 / figure.dpi > 14:
            drawn.append(_lead(axes, label, point))
    return True


def _free(
    place: tuple[float, ...], size: Bbox, scale: float, taken: list[Bbox], said: list[Bbox], frame: Bbox
) -> tuple[tuple[float, float], Bbox] | None:
    """The offset (points) and box (pixels) of the nearest candidate that overlaps nothing taken, or of the one that
    overlaps the least of what is said in words; None where all overlap what is taken."""
    best: tuple[float, tuple[float, float], Bbox] | None = None
    for distance in DISTANCES:
        for angle in ANGLES:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            # from the point's edge to the middle of the text, whose half width counts sideways
            dx = cos * (distance + size.width / scale / 2)
            dy = sin * (distance + (size.height / scale / 2 if abs(sin) > 0.1 else 0))
            x, y = place[0] + dx * scale, place[1] + dy * scale
            box = Bbox.from_bounds(x - size.width / 2, y - size.height / 2, size.width, size.height)
            outside = size.width * size.height - _overlap(box, frame)
            if outside > 1e-6 or any(_overlap(box, other) > 0 for other in taken):
                continue
            cost = sum(_overlap(box, other) for other in said) + 1e6 * _leads_across(place, (x, y), taken)
            if cost < 1e-6:
                return (dx, dy), box
            if best is None or cost < best[0]:
                best = (cost, (dx, dy), box)
    return None if best is None else best[1:]


def _leads_across(place: tuple[float, ...], end: tuple[float, float], taken: list[Bbox]) -> bool:
    """Whether a line from the point to its name crosses what is not the point's own."""
    others = [box for box in taken if not box.contains(place[0], place[1])]
    steps = [(place[0] + part * (end[0] - place[0]), place[1] + part * (end[1] - place[1]))
             for part in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]  # fmt: skip
    return any(box.contains(x, y) for box in others for x, y in steps)


def _overlap(a: Bbox, b: Bbox) -> float:
    shared = Bbox.intersection(a, b)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _lead(axes: Axes, label: Annotation, point: Point) -> Annotation:
    x, y = label.get_position()
    line = axes.annotate(
        "", label.xy, (x, y), textcoords="offset points", zorder=3,
        arrowprops={"arrowstyle": "-", "color": point.style.colour, "linewidth": 0.6, "alpha": 0.7, "shrinkA": 8,
                    "shrinkB": 3},
    )  # fmt: skip
    line.set_in_layout(False)
    mark(line, point.model)
    return line


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
    mark_legend(legend, [point.model for point in entries.values()])
