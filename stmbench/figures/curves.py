"""Curves of several models: trainings joined to one, axes of shares, names at the ends of lines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.palette import Style
from stmbench.figures.plot_data import FACETS, Point
from stmbench.figures.style import INK, MUTED, WIDTH, canvas, letters
from stmbench.tables.labels import is_random, recipe_and_seed

MOST_NAMES: Final = 10  # at the ends of lines; more are a legend
LEAST_SPAN: Final = 2.0  # of an axis of shares, in points: less would make noise look like a result
GAP: Final = 10.5  # points between names


def join_trainings(found: Iterable[Point]) -> list[Point]:
    """Points of one model that differ in the seed of their training become one.

    Its value is their mean; its interval reaches from the lowest to the highest end of theirs. A setting says the
    recipe only where a model has several.
    """
    found = list(found)
    recipes: dict[str, set[str]] = {}
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in found:
        recipe, _ = recipe_and_seed(point.facts["weights"])
        recipes.setdefault(point.model, set()).add(recipe)
        facts = tuple(point.facts[facet] for facet in FACETS if facet not in ("weights", "seed"))
        level = None if math.isnan(point.level) else point.level
        key = (point.model, point.baseline, point.condition, level, recipe, *facts)
        groups.setdefault(key, []).append(point)
    return [_joined(group, several=len(recipes[group[0].model]) > 1) for group in groups.values()]


def _joined(group: Sequence[Point], *, several: bool) -> Point:
    first = group[0]
    weights = str(first.facts["weights"])
    recipe = "random init" if is_random(weights) else recipe_and_seed(weights)[0]
    dropped = (weights, f"seed {first.facts['seed']}")
    words = [word for word in first.setting.split(" · ") if word and word not in dropped]
    setting = " · ".join([*([recipe] if several and weights in first.setting else []), *words])
    if len(group) == 1:
        return dataclasses.replace(first, setting=setting)
    lows = [point.value if point.errors is None else point.low for point in group]
    highs = [point.value if point.errors is None else point.high for point in group]
    worst = next((point for point in group if not point.resolved), first)
    return dataclasses.replace(
        first,
        setting=setting,
        value=math.fsum(point.value for point in group) / len(group),
        low=min(lows),
        high=max(highs),
        status=worst.status,
        trainings=len(group),
    )


def lines_of(found: Iterable[Point]) -> dict[str, list[Point]]:
    """Label -> its points."""
    lines: dict[str, list[Point]] = {}
    for point in found:
        lines.setdefault(point.label, []).append(point)
    return lines


def ends_of(point: Point) -> tuple[float, float]:
    """Of the interval; the value twice where there is none."""
    return (point.value, point.value) if point.errors is None else (point.low, point.high)


def share_limits(ends: Iterable[float]) -> tuple[float, float]:
    """Of an axis of per cents that holds these values with room for a mark; not less than `LEAST_SPAN` in all."""
    known = [end for end in ends if not math.isnan(end)] or [0.0, 100.0]
    low, high = min(known), max(known)
    missing = max(0.0, LEAST_SPAN - (high - low)) / 2
    room = 0.08 * (high - low + 2 * missing)
    return low - missing - room, high + missing + room


def limits_from_zero(ends: Sequence[float]) -> tuple[float, float]:
    """`share_limits` of values that may all be 0: below the least of them and 0 there is room for a mark, no more."""
    low, high = share_limits(ends)
    return max(low, min(0.0, *ends) - 0.08 * high), high


def set_share_axis(
    axes: Axes, low: float, high: float, *, which: str = "y", ends: tuple[float, float] | None = None
) -> None:
    """Give the axis these limits; `ends` are what values cannot exceed, beyond which there are no numbers."""
    least, most = ends or (-math.inf, math.inf)
    ticks = [tick for tick in share_locator().tick_values(low, high) if low <= tick <= high]
    ticks = [tick for tick in ticks if least <= tick <= most]
    if which == "x":
        axes.set_xlim(low, high)
        axes.set_xticks(ticks)
    else:
        axes.set_ylim(low, high)
        axes.set_yticks(ticks)


def share_locator() -> MaxNLocator:
    """Of an axis of shares."""
    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])


def number_locator(places: Iterable[float]) -> MaxNLocator:
    """Of an axis with these places: whole numbers where all of them are."""
    if all(float(place).is_integer() for place in places):
        return MaxNLocator(6, integer=True, steps=[1, 2, 5, 10])
    return MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])


def draw_line(axes: Axes, line: Sequence[Point]) -> list[Artist]:
    """A curve in per cent and its band."""
    colour, marker, stroke = line[0].style
    level = [point.level for point in line]
    low, high = ([100 * ends_of(point)[side] for point in line] for side in (0, 1))
    band = axes.fill_between(level, low, high, color=colour, alpha=0.12, linewidth=0, zorder=2)
    curve = axes.plot(
        level,
        [100 * point.value for point in line],
        color=colour,
        linestyle=stroke,
        marker=MarkerStyle(marker),
        markersize=4.5,
        linewidth=1.3,
        zorder=3,
    )
    return [band, *curve]


def draw_levels(
    panels: Mapping[str, Sequence[Point]],
    titles: Mapping[str, str],
    names: Mapping[str, str],
    *,
    title: str,
    across: str,
    up: str,
    words: str,
    behind: Sequence[Point] = (),
    draw_behind: Callable[[Axes, Sequence[Point]], None] | None = None,
) -> Figure:
    """Shares against the level of something: a panel for each metric, a line for each model, intervals as bands.

    Names stand at the ends of the last panel's lines.

    Args:
        panels: metric -> points, not empty.
        titles: metric -> title of its panel.
        names: label of the points -> what is written at the end of its line.
        across, up: the axes' labels.
        behind: other points, which `draw_behind` draws in the first panel.
    """
    every = [point for found in panels.values() for point in found]
    room = 0.4 + 0.07 * max(map(letters, names.values()))
    ends = [100 * end for point in (*every, *behind) for end in (point.value, point.low, point.high)]
    width = max(WIDTH, 0.6 + room + 2.5 * len(panels), 0.075 * len(words))
    with canvas(3.3, width=width, columns=len(panels)) as (figure, axes_of):
        if draw_behind is not None:
            draw_behind(axes_of[0], behind)
        for axes, (metric, found) in zip(axes_of, panels.items(), strict=True):
            for line in lines_of(found).values():
                line.sort(key=lambda point: point.level)
                # a line has no single value to say
                values = ", ".join(f"{point.level:g}: {100 * point.value:.1f}" for point in line)
                mark(draw_line(axes, line), line[0].model, f"{line[0].label}: {titles[metric]} in % at {values}")
            axes.set_xlabel(across)
            axes.xaxis.set_major_locator(number_locator(point.level for point in found))
            axes.grid(axis="y")
            axes.set_title(titles[metric], fontsize=9, loc="left", color=INK, pad=4)
        set_share_axis(axes_of[0], *share_limits(ends), ends=(0, 100))
        axes_of[0].set_ylabel(up)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(words, fontsize=9, color=MUTED)
        last = lines_of(list(panels.values())[-1])
        name_ends(figure, axes_of[-1], [
            End(line[-1].level, 100 * line[-1].value, names[label], line[-1].model, line[-1].style)
            for label, line in sorted(last.items(), key=lambda item: list(names).index(item[0]))
        ])  # fmt: skip
    return figure


def words_of(rows: pd.DataFrame, definition: str, found: Sequence[Point]) -> str:
    """The conditions that the rows share, below a figure."""
    words = []
    for column, unit in (("scale", ""), ("resolution", " px"), ("dataset", ""), ("num_images", " images")):
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    trainings = max(point.trainings for point in found)
    words += [definition] + ([f"{trainings} trainings each"] if trainings > 1 else [])
    return " · ".join([*words, *(["random init"] if all(point.is_untrained for point in found) else [])])


class End(NamedTuple):
    """Where a line ends, and what is written there."""

    x: float
    y: float
    text: str
    model: str
    style: Style


def name_ends(figure: Figure, axes: Axes, ends: Sequence[End]) -> None:
    """Write each line's name beside its end, apart from one another; many names are a legend beside the panels."""
    if len(ends) > MOST_NAMES:
        handles = [
            Line2D([], [], color=end.style.colour, linestyle=end.style.stroke, marker=MarkerStyle(end.style.marker),
                   markersize=5, linewidth=1.4, label=end.text)
            for end in ends
        ]  # fmt: skip
        legend = figure.legend(handles=handles, loc="outside right upper", fontsize=8)
        mark_legend(legend, [end.model for end in ends])
        return
    right = max((end.x for end in ends), default=0.0)
    names = [
        axes.annotate(end.text, (right, end.y), (16, 0), textcoords="offset points", fontsize=8, va="center",
                      color=INK, annotation_clip=False)
        for end in ends
    ]  # fmt: skip
    figure.draw_without_rendering()  # fixes the layout, so that places in data units have places on the page
    scale = 72 / figure.dpi
    gap = GAP * max((1 + end.text.count("\n") for end in ends), default=1)
    heights = [float(axes.transData.transform((right, end.y))[1]) * scale for end in ends]
    for end, name, height, found in zip(ends, names, heights, spread(heights, gap), strict=True):
        name.set_position((16, found - height))
        gone = scale * float(axes.transData.transform((right, end.y))[0] - axes.transData.transform((end.x, end.y))[0])
        arrow = {"arrowstyle": "-", "color": end.style.colour, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 3}
        lead = axes.annotate("", (end.x, end.y), (gone + 14, found - height), textcoords="offset points",
                             annotation_clip=False, zorder=2, arrowprops=arrow)  # fmt: skip
        lead.set_in_layout(False)
        mark([name, lead], end.model)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places near these that are at least `gap` apart, in the same order."""
    clusters: list[list[int]] = [[index] for index in sorted(range(len(places)), key=lambda index: places[index])]

    def first_of(cluster: Sequence[int]) -> float:
        middle = math.fsum(places[index] for index in cluster) / len(cluster)
        return middle - gap * (len(cluster) - 1) / 2

    number = 0
    while number + 1 < len(clusters):
        here, there = clusters[number], clusters[number + 1]
        if first_of(there) - (first_of(here) + gap * (len(here) - 1)) < gap - 1e-9:
            clusters[number : number + 2] = [here + there]
            number = max(0, number - 1)
        else:
            number += 1
    found = [0.0] * len(places)
    for cluster in clusters:
        for step, index in enumerate(cluster):
            found[index] = first_of(cluster) + gap * step
    return found
