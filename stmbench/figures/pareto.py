"""Accuracy against what it costs: throughput or MACs, with the front of models that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, name_points, room_for_names, words
from stmbench.figures.display_units import display
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.scatter import extent, limits
from stmbench.figures.style import GRID, INK, MUTED, canvas, heading, log_axis

MORE_IS_BETTER: Final = ("throughput",)


class Pair(NamedTuple):
    """One model and weights: what it costs and how often it is right."""

    cost: Point
    right: Point


def pareto(frame: pd.DataFrame, metric: str) -> Figure:
    """Top-1 accuracy against `metric` (throughput or macs, on a log axis), both with their 95 % intervals.

    Args:
        frame: rows of the analyses 'profile' and 'eval' (or 'train', where nothing was evaluated), joined on the
            model, its input's size and the precision. Speed hardly depends on weights, so those of the profile may be
            other ones; accuracies of random weights are left out. Each setting has a front of its own.

    Raises:
        TableError: no setting in which two models have both.
    """
    pairs = [pair for group in fronts(frame, metric) for pair in group]
    if not pairs:
        got = "fewer in each setting"
        raise TableError(f"accuracy and {metric} of two trained models", got, "run `stmbench eval` and `profile`")
    shown = display(metric)
    drawn = [(cost, cost.value / shown.factor, cost.value / shown.factor, shown.factor) for cost, _ in pairs]
    width, height = room_for_names([right for _, right in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        log_axis(axes, "x", *limits(extent(drawn)))
        ends = [100 * end for _, right in pairs for end in (right.value, *_ends(right))]
        room = 0.08 * max(max(ends) - min(ends), 2)
        axes.set_ylim(max(min(ends) - room, -1), min(max(ends) + room, 101))
        axes.set_xlabel(f"{shown.name} ({shown.unit})")
        axes.set_ylabel("top-1 accuracy (%)")
        axes.grid(color=GRID)
        heading(axes, f"Accuracy and {shown.name}", subtitle([cost for cost, _ in pairs]))
        for group in fronts(frame, metric):
            _front(axes, group, metric, shown.factor)
        for pair in pairs:
            _draw(axes, pair, metric, shown.factor)
        name_points(figure, axes, [(right, cost.value / shown.factor, 100 * right.value) for cost, right in pairs])
    return figure


def joined(frame: pd.DataFrame, metric: str) -> list[Pair]:
    """Costs and accuracies of the same model, size and precision; a model with several weights has several pairs.

    An accuracy of random weights is no result, and joins nothing.
    """
    chosen = {}
    for name, analysis, wanted in (("cost", "profile", metric), ("right", accuracy_from(frame), "accuracy")):
        rows = frame[frame["analysis"] == analysis]
        rows.attrs = frame.attrs
        try:
            chosen[name] = points(rows, wanted)
        except TableError:
            return []
    trained = [right for right in chosen["right"] if not right.is_untrained]
    return [Pair(cost, right) for right in trained for cost in chosen["cost"] if _same(cost, right)]


def fronts(frame: pd.DataFrame, metric: str) -> list[list[Pair]]:
    """The pairs of each setting, of settings with at least two models: one model alone is no front."""
    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for pair in joined(frame, metric):
        groups.setdefault((pair.cost.comparable, pair.right.comparable), []).append(pair)
    return [group for group in groups.values() if len({pair.right.model for pair in group}) > 1]


def accuracy_from(frame: pd.DataFrame) -> str:
    """The analysis that accuracies are taken from: 'eval', or 'train' (after the last epoch) where there is none."""
    rows = frame[(frame["metric"] == "accuracy") & (frame["kind"] == "summary") & frame["value"].notna()]
    return "train" if not (rows["analysis"] == "eval").any() and (rows["analysis"] == "train").any() else "eval"


def front(values: Sequence[tuple[float, float]], *, more_is_better: bool) -> list[int]:
    """Indices of the (cost, accuracy) that no other beats in one without being worse in the other, by cost."""
    sign = -1 if more_is_better else 1
    order = sorted(range(len(values)), key=lambda index: (sign * values[index][0], -values[index][1]))
    found: list[int] = []
    for index in order:
        if not found or values[index][1] > values[found[-1]][1]:
            found.append(index)
    return sorted(found, key=lambda index: values[index][0])


def _same(cost: Point, right: Point) -> bool:
    pairs = [(cost.facts[facet], right.facts[facet]) for facet in ("resolution", "dtype")]
    return cost.model == right.model and all(None in pair or pair[0] == pair[1] for pair in pairs)


def _front(axes: Axes, pairs: Sequence[Pair], metric: str, factor: float) -> None:
    values = [(pair.cost.value, pair.right.value) for pair in pairs]
    chosen = front(values, more_is_better=metric in MORE_IS_BETTER)
    if len(chosen) > 1:
        x, y = [values[i][0] / factor for i in chosen], [100 * values[i][1] for i in chosen]
        axes.plot(x, y, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)


def _draw(axes: Axes, pair: Pair, metric: str, factor: float) -> None:
    cost, right = pair
    x, y = cost.value / factor, 100 * right.value
    across = None if cost.errors is None else [[length / factor] for length in cost.errors]
    up = None if right.errors is None else [[100 * length] for length in right.errors]
    said = f"{words(right, 'accuracy')}; {words(cost, metric)}"
    if across is not None or up is not None:
        mark(
            axes.errorbar(x, y, xerr=across, yerr=up, color=INK, elinewidth=0.9, capsize=2.5, zorder=3), cost.key, said
        )
    colour, marker = right.style
    inside = colour if cost.rounds is None else "white"  # a few rounds say little
    dot = axes.plot(x, y, marker=MarkerStyle(marker), color=inside, markeredgecolor=colour, markersize=8, linestyle="",
                    zorder=4)  # fmt: skip
    mark(dot, cost.key, said)


def _ends(point: Point) -> tuple[float, ...]:
    return () if point.errors is None else (point.low, point.high)
