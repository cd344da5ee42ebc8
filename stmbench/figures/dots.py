"""Shares of each model as dots with their intervals: a row for each model, a panel for each metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.figures.annotations import mark, mark_point
from stmbench.figures.curves import ends_of, join_trainings, limits_from_zero, set_share_axis, share_limits
from stmbench.figures.groups import within
from stmbench.figures.palette import CONTROL
from stmbench.figures.plot_data import Point, subtitle
from stmbench.figures.style import canvas, heading, rows_axis, rows_height, rows_width
from stmbench.tables.labels import recipe_and_seed

DIFFERENCE: Final = "_difference"  # of a metric's name, at its end


def dot_plot(
    each: Mapping[str, Sequence[Point]],
    words: Mapping[str, str],
    title: str,
    *,
    from_zero: Collection[str] = (),
) -> Figure:
    """A panel for each metric, the best of the first one first, trained models before untrained ones.

    Whiskers are 95 % intervals. Several trainings of a model are a small mark each, and a large one at their mean with
    a whisker over all their intervals. Models with random weights are labelled so.

    Args:
        each: metric -> its points, shares; the first has some. Those of differences are of joined trainings.
        words: what stands below a metric's panel.
        from_zero: metrics whose axis includes 0.
    """
    joined = {metric: join_trainings(found) for metric, found in each.items() if found}
    first = next(iter(joined.values()))
    apart = sorted(within(first).values(), key=lambda group: group[0].is_untrained)
    rows = [point for group in apart for point in sorted(group, key=lambda point: -point.value)]
    names = [named(point) for point in rows]
    width = rows_width(names) + 2.0 * (len(joined) - 2)
    with canvas(rows_height(len(rows)), width=width, columns=len(joined)) as (figure, panels):
        rows_axis(panels[0], names)
        for tick, point in zip(panels[0].get_yticklabels(), rows, strict=True):
            mark(tick, point.model)
        for axes, (metric, found) in zip(panels, joined.items(), strict=True):
            by_label = {point.label: point for point in found}
            _dots(axes, metric, [by_label.get(point.label) for point in rows], each[metric], from_zero)
            axes.set_xlabel(words[metric])
        for axes in panels[1:]:
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="x")
        heading(panels[0], title, conditions(rows))
        for text in panels[0].texts:
            text.set_in_layout(False)  # else a long text takes its width from the panels
    return figure


def named(point: Point) -> str:
    """Its label, which says where weights are random."""
    doubt = point.is_untrained and "random init" not in point.setting
    return f"{point.label} (random init)" if doubt else point.label


def conditions(chosen: Sequence[Point]) -> str:
    """What all points share, with their data: 'nano · 128 px · fp32 · shapes · 3 trainings each'."""
    said = subtitle(list(chosen), without=("batch_size",))
    data = {str(point.facts["dataset"]).partition(":")[0] for point in chosen}
    trainings = max(point.trainings for point in chosen)
    more = [f"{trainings} trainings each"] if trainings > 1 else []
    return " · ".join([*([said] if said else []), *sorted(data), *more])


def _dots(
    axes: Axes, metric: str, column: Sequence[Point | None], each: Sequence[Point], from_zero: Collection[str]
) -> None:
    """A dot for each row, on an axis that fits the values and their intervals."""
    is_difference = metric.endswith(DIFFERENCE)
    if is_difference:
        axes.axvline(0, color=CONTROL.colour, linestyle=CONTROL.stroke, linewidth=1.2, zorder=1)
    for row, point in enumerate(column):
        if point is None:
            continue
        colour, marker, _ = point.style
        if point.errors is not None:
            whiskers = [[100 * length] for length in point.errors]
            bars = axes.errorbar(
                100 * point.value, row, xerr=whiskers, color=colour, capsize=3, elinewidth=1.0, zorder=3
            )
            mark_point(bars, point, metric)
        for one in (other for other in each if _is_training_of(other, point)):
            small = axes.plot(100 * one.value, row, marker=MarkerStyle(marker), color="white", markersize=4,
                              markeredgecolor=colour, markeredgewidth=0.9, zorder=3.5)  # fmt: skip
            mark_point(small, one, metric)
        dot = axes.plot(100 * point.value, row, marker=MarkerStyle(marker), color=colour, markersize=7, zorder=4)
        mark_point(dot, point, metric)
    ends = [100 * end for point in column if point is not None for end in (*ends_of(point), point.value)]
    if is_difference or metric in from_zero:
        ends.append(0.0)
    limits = share_limits(ends) if is_difference else limits_from_zero(ends)
    set_share_axis(axes, *limits, which="x", ends=None if is_difference else (0, 100))


def _is_training_of(one: Point, joined: Point) -> bool:
    """Whether a point is one of those behind a mean."""
    same = (one.model, one.comparable) == (joined.model, joined.comparable)
    recipes = {recipe_and_seed(point.facts["weights"])[0] for point in (one, joined)}
    return one.trainings < joined.trainings and same and len(recipes) == 1
