"""What each model has more or less than a control: a panel for each, the others in grey behind it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Polygon
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from stmbench.errors import TableError
from stmbench.figures.annotations import mark
from stmbench.figures.curves import ends_of, join_trainings, lines_of, number_locator, share_limits, share_locator
from stmbench.figures.palette import CONTROL, IDENTITY
from stmbench.figures.panes import Pane, draw_axes, numbers, strokes, write
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import INK, MUTED, STYLE, letters, shorten

OTHERS: Final = "#d2d2cd"  # of the models that a panel is not about
FEW_MODELS: Final = 6  # that have a row each
# inches: a panel's height, what is between panels, around all of them, and a line of a panel's name
HEIGHT, GAP, LEFT, RIGHT, TOP, BOTTOM, HEADING = 0.95, 0.12, 0.68, 0.1, 0.36, 0.66, 0.145


class Differences(NamedTuple):
    """`control` is a point of the model that all `points` are differences to."""

    control: Point
    points: list[Point]


def differences(frame: pd.DataFrame, metric: str) -> Differences | None:
    """What the rows of '<metric>_difference' say of each model against one of them; None where there are none.

    That one is the model which most others are compared with; of equals the one without mixing, else the first. A row
    that has it as its model is turned round.
    """
    try:
        pairs, plain = points(frame, f"{metric}_difference"), points(frame, metric)
    except TableError:
        return None
    looks = {point.model: point for point in reversed(plain)}
    pairs = [pair for pair in pairs if pair.baseline in looks and pair.model in looks]
    partners: dict[str, set[str]] = {}
    for pair in pairs:
        partners.setdefault(str(pair.baseline), set()).add(pair.model)
        partners.setdefault(pair.model, set()).add(str(pair.baseline))
    if not pairs:
        return None
    named = Counter(str(pair.baseline) for pair in pairs)
    control = max(partners, key=lambda model: (len(partners[model]), looks[model].mixer == IDENTITY, named[model]))
    turned = [_turned(pair, looks[str(pair.baseline)]) if pair.model == control else pair for pair in pairs]
    return Differences(looks[control], join_trainings(pair for pair in turned if pair.baseline == control))


def _turned(pair: Point, other: Point) -> Point:
    """The difference of `other`, the pair's baseline, to the pair's model."""
    return dataclasses.replace(
        pair,
        model=other.model,
        name=other.name,
        style=other.style,
        mixer=other.mixer,
        facts={**pair.facts, "scale": other.facts["scale"]},
        baseline=pair.model,
        value=-pair.value,
        low=-pair.high,
        high=-pair.low,
    )


def draw_differences(
    facets: Mapping[str, list[Point]],
    control: str,
    *,
    title: str,
    words: str,
    xlabel: str,
    place: Callable[[Point], float] = lambda point: point.level,
    ticks: Mapping[float, str] | None = None,
) -> Figure:
    """A panel for each model, the others in grey; several facets are columns, or blocks where models are many.

    Bands are 95 % intervals of the differences, in percentage points. Marks are full where the interval excludes 0.

    Args:
        facets: what a column shows -> differences; not empty.
        control: the name of the model that they are differences to: the line at 0.
        place: where a point stands on the axis.
        ticks: the axis' places in words; default: numbers.
    """
    names = list(dict.fromkeys(point.label for found in facets.values() for point in found))
    grid = _grid(list(facets), names)
    against = f"differences to {control} on the same images, with 95 % intervals"
    every = [point for found in facets.values() for point in found]
    places = [place(point) for point in every]
    span = (max(places) - min(places)) or 1.0
    across = min(places) - 0.06 * span, max(places) + 0.24 * span  # room for the value at its end
    up = share_limits([0, *(100 * end for point in every for end in ends_of(point))])
    with matplotlib.rc_context(STYLE):
        longest = max(len(words), len(against))
        figure, panels = _panels(grid, names, (across, up), least=max(5.6, 0.075 * longest), several=len(facets) > 1)
        panes = [panel.pane for panel in panels.values()]
        draw_axes(
            panes,
            ticks or numbers(number_locator(places), across),
            numbers(share_locator(), up),
            lowest=[panel.pane for panel in panels.values() if panel.is_lowest],
            first=[panel.pane for panel in panels.values() if panel.is_first],
        )
        zero = [pane.inches.transform([(across[0], 0), (across[1], 0)]) for pane in panes]
        strokes(figure, zero, color=CONTROL.colour, linestyle=CONTROL.stroke, linewidth=1.2, zorder=2)
        _others(panels, {facet: lines_of(found) for facet, found in facets.items()}, place)
        for (facet, name), panel in panels.items():
            line = sorted((point for point in facets[facet] if point.label == name), key=place)
            if line:
                _line(panel.pane, line, place)
            at = panel.pane.box.x0, panel.pane.box.y1
            if panel.is_named:
                heading = write(figure, shorten(name), at, (0, 3), fontsize=8.5, color=INK)
                mark(heading, next(point.model for point in every if point.label == name))
            if panel.begins_facet:
                above = 4 + HEADING * 72 * (1 + shorten(name).count("\n"))
                write(figure, facet, at, (0, above), fontweight="bold", fontsize=8.5, color=MUTED)
        height = figure.get_figheight()
        figure.supylabel("difference, points", x=0.12 / figure.get_figwidth(), y=(1 + (BOTTOM - TOP) / height) / 2,
                         fontsize=9)  # fmt: skip
        figure.supxlabel(f"{xlabel}\n{against}\n{words}", y=0.08 / height, fontsize=9, color=MUTED)
        figure.suptitle(title, x=0.01, y=1 - 0.08 / height, ha="left", fontsize=11, fontweight="bold")
    return figure


class _Panel(NamedTuple):
    """Where a model is drawn, and what is written there."""

    pane: Pane
    is_first: bool  # of its row
    is_lowest: bool  # of its column
    is_named: bool
    begins_facet: bool


def _panels(
    grid: Sequence[Sequence[tuple[str, str]]],
    names: Sequence[str],
    limits: tuple[tuple[float, float], tuple[float, float]],
    *,
    least: float,
    several: bool,
) -> tuple[Figure, dict[tuple[str, str], _Panel]]:
    """A figure at least so wide, and its panels. `several` says whether there are several facets."""
    pitch = min(max(2.1, 0.066 * max(map(letters, names)) + 0.2), 2.5)
    width = max(LEFT + pitch * max(map(len, grid)) + RIGHT, least)
    each = (width - LEFT - RIGHT) / max(map(len, grid))
    in_columns = several and len(names) <= FEW_MODELS  # each facet is one
    title = HEADING * max(1 + shorten(name).count("\n") for name in names) + 0.05
    begins = [several and (not row or (not in_columns and grid[row - 1][0][0] != cells[0][0]))
              for row, cells in enumerate(grid)]  # fmt: skip
    lowest = [[row + 1 == len(grid) or column >= len(grid[row + 1]) for column in range(len(cells))]
              for row, cells in enumerate(grid)]  # fmt: skip
    above = [title + (HEADING + 0.06 if first else 0) for first in begins]
    below = [0.22 if any(last) else 0.08 for last in lowest]
    height = TOP + sum(above) + HEIGHT * len(grid) + sum(below) + BOTTOM
    figure, found, down = Figure(figsize=(width, height)), {}, TOP
    for row, cells in enumerate(grid):
        down += above[row] + HEIGHT
        for column, cell in enumerate(cells):
            box = Bbox.from_bounds(LEFT + column * each, height - down, each - GAP, HEIGHT)
            found[cell] = _Panel(
                pane=Pane(figure=figure, box=box, x=limits[0], y=limits[1]),
                is_first=not column,
                is_lowest=lowest[row][column],
                is_named=not in_columns or not column,
                begins_facet=begins[row] and (in_columns or not column),
            )
        down += below[row]
    return figure, found


def _grid(facets: Sequence[str], names: Sequence[str]) -> list[list[tuple[str, str]]]:
    """(facet, label) of each panel, row by row."""
    if len(facets) > 1 and len(names) <= FEW_MODELS:
        return [[(facet, name) for facet in facets] for name in names]
    across = 4 if len(names) <= 8 else 6
    blocks = range(0, len(names), min(across, len(names)))
    return [[(facet, name) for name in names[start : start + across]] for facet in facets for start in blocks]


def _others(
    panels: Mapping[tuple[str, str], _Panel],
    facets: Mapping[str, Mapping[str, list[Point]]],
    place: Callable[[Point], float],
) -> None:
    """A model's line in grey, in the panels of all others: one artist, or there would be thousands."""
    greys: dict[str, list[NDArray[np.float64]]] = {}
    for (facet, name), panel in panels.items():
        for label, line in facets[facet].items():
            if label != name:
                ends = [(place(point), 100 * point.value) for point in sorted(line, key=place)]
                greys.setdefault(line[0].model, []).append(panel.pane.inches.transform(ends))
    figure = next(iter(panels.values())).pane.figure
    for model, lines in greys.items():
        mark(strokes(figure, lines, color=OTHERS, linewidth=0.9, zorder=1.5), model)


def _line(pane: Pane, line: Sequence[Point], place: Callable[[Point], float]) -> None:
    """A model's line with its band, marks, and the value at its end."""
    style, ends = line[0].style, [ends_of(point) for point in line]
    x, y = [place(point) for point in line], [100 * point.value for point in line]
    low, high = [100 * end for end, _ in ends], [100 * end for _, end in ends]
    outline = [*zip(x, low, strict=True), *zip(x[::-1], high[::-1], strict=True)]
    band = pane.add(Polygon(outline, facecolor=style.colour, alpha=0.16, linewidth=0, zorder=2.5))
    curve = pane.add(Line2D(x, y, color=style.colour, linestyle=style.stroke, linewidth=1.4, zorder=3))
    mark([band, curve], line[0].model, f"{line[0].label}: {', '.join(_said(point, place) for point in line)}")
    for is_resolved, inside in ((True, style.colour), (False, "white")):
        at = [place for place, (bottom, top) in enumerate(ends) if (bottom > 0 or top < 0) == is_resolved]
        if at:
            dots = Line2D([x[place] for place in at], [y[place] for place in at], linestyle="",
                          marker=MarkerStyle(style.marker), markersize=3.8, color=style.colour,
                          markerfacecolor=inside, zorder=4)  # fmt: skip
            mark(pane.add(dots), line[0].model)
    said = f"{y[-1]:+.1f}".replace("-", "−")
    mark(write(pane.figure, said, pane.at(x[-1], y[-1]), (5, 0), fontsize=7.5, va="center", zorder=5), line[0].model)


def _said(point: Point, place: Callable[[Point], float]) -> str:
    low, high = ends_of(point)
    return f"at {place(point):g} {100 * point.value:+.1f} points (95 %: {100 * low:+.1f} to {100 * high:+.1f})"
