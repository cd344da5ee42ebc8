"""What each model has more or less than a control: a panel for each, the others in grey behind it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.annotations import mark
from stmbench.figures.curves import ends_of, join_trainings, lines_of, number_locator, set_share_axis, share_limits
from stmbench.figures.palette import CONTROL, IDENTITY
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import INK, MUTED, STYLE, shorten

OTHERS: Final = "#d2d2cd"  # of the models that a panel is not about
FEW_MODELS: Final = 6  # that have a row each


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
    columns = max(map(len, grid))
    against = f"differences to {control} on the same images, with 95 % intervals"
    every = [point for found in facets.values() for point in found]
    places = [place(point) for point in every]
    low, high = share_limits([0, *(100 * end for point in every for end in ends_of(point))])
    with matplotlib.rc_context({**STYLE, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}):
        size = (max(5.6, 0.8 + 2.1 * columns, 0.075 * len(words), 0.075 * len(against)), 1.4 + 1.35 * len(grid))
        figure = Figure(figsize=size, layout="constrained")
        # not shared: every line and every limit of one would move the limits of all
        panels = figure.subplots(len(grid), columns, squeeze=False)
        span = (max(places) - min(places)) or 1.0
        for row, cells in enumerate(grid):
            for axes in panels[row][len(cells) :]:
                axes.set_visible(False)
            for column, (facet, name) in enumerate(cells):
                axes = panels[row][column]
                set_share_axis(axes, low, high)
                if ticks is not None:
                    axes.set_xticks(list(ticks), list(ticks.values()))
                else:
                    axes.xaxis.set_major_locator(number_locator(places))
                axes.set_xlim(min(places) - 0.06 * span, max(places) + 0.24 * span)  # room for the value at its end
                lowest = row + 1 == len(grid) or column >= len(grid[row + 1])
                axes.tick_params(labelleft=not column, labelbottom=lowest)
                _panel(axes, lines_of(facets[facet]), name, place)
                if len(facets) == 1 or not column or len(names) > FEW_MODELS:
                    heading = axes.set_title(shorten(name), fontsize=8.5, loc="left", color=INK, pad=3)
                    heading.set_in_layout(column + 1 == columns)
                    mark(heading, next(point.model for point in every if point.label == name))
                of_block = not column and (not row or grid[row - 1][0][0] != facet)
                if len(facets) > 1 and (not row if len(names) <= FEW_MODELS else of_block):
                    axes.annotate(facet, (0, 1), (0, 15), "axes fraction", textcoords="offset points",
                                  fontweight="bold", fontsize=8.5, color=MUTED)  # fmt: skip
        figure.supylabel("difference, points", fontsize=9)
        figure.supxlabel(f"{xlabel}\n{against}\n{words}", fontsize=9, color=MUTED)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _grid(facets: Sequence[str], names: Sequence[str]) -> list[list[tuple[str, str]]]:
    """(facet, label) of each panel, row by row."""
    if len(facets) > 1 and len(names) <= FEW_MODELS:
        return [[(facet, name) for facet in facets] for name in names]
    across = 4 if len(names) <= 8 else 6
    blocks = range(0, len(names), min(across, len(names)))
    return [[(facet, name) for name in names[start : start + across]] for facet in facets for start in blocks]


def _panel(axes: Axes, lines: Mapping[str, list[Point]], name: str, place: Callable[[Point], float]) -> None:
    axes.axhline(0, color=CONTROL.colour, linestyle=CONTROL.stroke, linewidth=1.2, zorder=2)
    axes.grid(axis="y")
    for label, found in lines.items():
        line = sorted(found, key=place)
        x, y = [place(point) for point in line], [100 * point.value for point in line]
        if label != name:
            grey = Line2D(
                x, y, color=OTHERS, linewidth=0.9, zorder=1.5
            )  # within the limits: no `plot`, which adapts them
            mark(axes.add_artist(grey), line[0].model)
            continue
        style, ends = line[0].style, [ends_of(point) for point in line]
        low, high = [100 * end for end, _ in ends], [100 * end for _, end in ends]
        text = f"{name}: {', '.join(_said(point, place) for point in line)}"
        band = axes.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0, zorder=2.5)
        curve = axes.plot(x, y, color=style.colour, linestyle=style.stroke, linewidth=1.4, zorder=3)
        mark([band, *curve], line[0].model, text)
        for across, height, (bottom, top) in zip(x, y, ends, strict=True):
            inside = style.colour if bottom > 0 or top < 0 else "white"
            dot = axes.plot(across, height, marker=MarkerStyle(style.marker), markersize=3.8, color=style.colour,
                            markerfacecolor=inside, zorder=4)  # fmt: skip
            mark(dot, line[0].model)
        said = f"{y[-1]:+.1f}".replace("-", "−")
        value = axes.annotate(
            said, (x[-1], y[-1]), (5, 0), textcoords="offset points", fontsize=7.5, va="center", zorder=5
        )
        value.set_in_layout(False)
        mark(value, line[0].model)


def _said(point: Point, place: Callable[[Point], float]) -> str:
    low, high = ends_of(point)
    return f"at {place(point):g} {100 * point.value:+.1f} points (95 %: {100 * low:+.1f} to {100 * high:+.1f})"
