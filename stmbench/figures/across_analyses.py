"""Figures of several analyses together.

`pareto`    accuracy against throughput or MACs, with the front of models that no other beats in both
`standing`  a matrix of ranks in everything that was measured, with the ranks its intervals allow
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, words
from stmbench.figures.curves import join_trainings
from stmbench.figures.groups import within
from stmbench.figures.names import name_points, room_for_names
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import GRID, MUTED, canvas, heading, limits, log_axis, rows_axis, rows_width
from stmbench.figures.whiskers import CUT, cut_whiskers, filling, is_full, note, reach, span, whisker
from stmbench.tables.labels import LEARNED
from stmbench.tables.rows import display

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
    shown = display(metric, values=[cost.value for cost, _ in pairs])
    width, height = room_for_names([right for _, right in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        log_axis(axes, "x", *limits([*reach([span(cost, shown.factor) for cost, _ in pairs], log=True)], room=1.2))
        low, high = reach([span(right, 0.01) for _, right in pairs])
        room = 0.08 * max(high - low, 2)
        axes.set_ylim(max(low - room, -1), min(high + room, 101))
        axes.set_xlabel(f"{shown.name} ({shown.unit})")
        axes.set_ylabel("top-1 accuracy (%)")
        axes.grid(color=GRID)
        heading(axes, f"Accuracy and {shown.name}", subtitle([cost for cost, _ in pairs]))
        for group in fronts(frame, metric):
            _front(axes, group, metric, shown.factor)
        for pair in pairs:
            _draw_pair(axes, pair, metric, shown.factor)
        note(axes, [CUT if cut_whiskers(axes) else "", filling(point for pair in pairs for point in pair)])
        name_points(figure, axes, [(right, cost.value / shown.factor, 100 * right.value) for cost, right in pairs])
    return figure


def joined(frame: pd.DataFrame, metric: str) -> list[Pair]:
    """Costs and accuracies of the same model, size and precision; a model with several weights has several pairs.

    Weights that differ in the seed of their training are one, see `join_trainings`. An accuracy of random weights is no
    result, and joins nothing.
    """
    chosen = {}
    for name, analysis, wanted in (("cost", "profile", metric), ("right", accuracy_from(frame), "accuracy")):
        rows = frame[frame["analysis"] == analysis]
        rows.attrs = frame.attrs
        try:
            chosen[name] = points(rows, wanted)
        except TableError:
            return []
    trained = join_trainings(right for right in chosen["right"] if not right.is_untrained)
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
    chosen: list[int] = []
    for index in order:
        if not chosen or values[index][1] > values[chosen[-1]][1]:
            chosen.append(index)
    return sorted(chosen, key=lambda index: values[index][0])


def _same(cost: Point, right: Point) -> bool:
    pairs = [(cost.facts[facet], right.facts[facet]) for facet in ("resolution", "dtype")]
    return cost.model == right.model and all(None in pair or pair[0] == pair[1] for pair in pairs)


def _front(axes: Axes, pairs: Sequence[Pair], metric: str, factor: float) -> None:
    values = [(pair.cost.value, pair.right.value) for pair in pairs]
    chosen = front(values, more_is_better=metric in MORE_IS_BETTER)
    if len(chosen) > 1:
        x, y = [values[i][0] / factor for i in chosen], [100 * values[i][1] for i in chosen]
        axes.plot(x, y, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)


def _draw_pair(axes: Axes, pair: Pair, metric: str, factor: float) -> None:
    cost, right = pair
    x, y = cost.value / factor, 100 * right.value
    across = whisker(axes, cost, metric, (x, y), factor=factor, across=True, cap=2.5)
    up = whisker(axes, right, "accuracy", (x, y), factor=0.01, cap=2.5)
    colour, marker, _ = right.style
    inside = colour if is_full(cost, right) else "white"
    dot = axes.plot(x, y, marker=MarkerStyle(marker), color=inside, markeredgecolor=colour, markersize=8, linestyle="",
                    zorder=5.5)  # fmt: skip
    mark([across, up, dot], cost.model, f"{words(right, 'accuracy')}; {words(cost, metric)}")


FEWEST: Final = 2  # models and quantities
OF_LEARNING: Final = (*LEARNED, "calibration_error")  # what untrained models have by chance
HALF: Final = 0.38  # of a column, on either side of its middle


class Quantity(NamedTuple):
    """What is ranked: its words, where it is in the table, and whether more of it is better."""

    words: str
    analysis: str
    metric: str
    more_is_better: bool
    condition: str | None = None


QUANTITIES: Final = (
    Quantity("parameters", "profile", "params", False),
    Quantity("MACs", "profile", "macs", False),
    Quantity("throughput", "profile", "throughput", True),
    Quantity("latency p50", "profile", "latency", False, "p50"),
    Quantity("peak memory", "profile", "peak_memory", False),
    Quantity("accuracy", "eval", "accuracy", True),
    Quantity("box AP", "detection", "box_ap", True),
    Quantity("calibration", "eval", "calibration_error", False),
    Quantity("translation", "invariance_translation", "consistency_auc", True),
    Quantity("rotation", "invariance_rotation", "consistency_auc", True),
    Quantity("scale", "invariance_scale", "consistency_auc", True),
    Quantity("robustness", "robustness", "accuracy", True),
)
_BY_WORDS: Final = {quantity.words: quantity for quantity in QUANTITIES}


class RankRange(NamedTuple):
    """A rank (1 is best), and the best and the worst one that the intervals allow."""

    rank: int
    best: int
    worst: int


def standing(frame: pd.DataFrame) -> Figure:
    """A row for each model, a column for each quantity, left is better.

    Raises TableError where fewer than two models or two quantities can be ranked.
    """
    columns = ranked(frame)
    ranges = standings(columns)
    models = list(dict.fromkeys(model for column in columns.values() for model in column))
    if len(columns) < FEWEST or len(models) < FEWEST:
        raise TableError("two quantities of two models", "fewer", "measure more, such as `stmbench eval`")
    mean = {model: fmean([column[model].rank for column in ranges.values() if model in column]) for model in models}
    models.sort(key=lambda model: mean[model])
    labels = {point.model: point.name for column in columns.values() for point in column.values()}
    names = [labels[model] for model in models]
    width = rows_width(names) - 5.2 + 0.95 * len(columns)
    with canvas(1.5 + 0.36 * max(len(models), 2), width=max(width, 5.0)) as (figure, (axes,)):
        rows_axis(axes, names)
        axes.grid(visible=False)
        for column, (said, of_column) in enumerate(columns.items()):
            for row, model in enumerate(models):
                if model in of_column:
                    rank = ranges[said][model]
                    _draw_rank(axes, column, row, rank, of_column[model], _BY_WORDS[said], len(of_column))
        for tick, model in zip(axes.get_yticklabels(), models, strict=True):
            mark(tick, model)
        axes.set_xticks(range(len(columns)), list(columns), rotation=30, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", length=0)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_xlabel("left is better; bars reach over the ranks that 95 % intervals allow", color=MUTED, fontsize=8)
        axes.set_title("Ranks", loc="left", fontsize=11, fontweight="bold", pad=10)
    return figure


def ranked(frame: pd.DataFrame) -> dict[str, dict[str, Point]]:
    """Quantity -> model -> point, of those with one value a model, for at least two models of one setting.

    Values of trainings that differ in their seed are one value, whose interval reaches over all of theirs.
    Of several settings the one with most models is ranked, the first of equals. How often random weights are right is
    no result: they have no rank in it. Models that have fewer than half of the quantities are left out: they would have
    ranks in what is cheap to measure.
    """
    ranked_by = {}
    for quantity in QUANTITIES:
        analysis = accuracy_from(frame) if quantity.words == "accuracy" else quantity.analysis
        rows = frame[frame["analysis"] == analysis]
        rows.attrs = frame.attrs
        try:
            chosen = points(rows, quantity.metric)
        except TableError:
            continue
        chosen = [point for point in chosen if quantity.condition in (None, point.condition)]
        if quantity.analysis == "robustness":
            chosen = [point for point in chosen if point.condition is None]  # at eps 0 an attack changes nothing
            strongest = max((point.level for point in chosen), default=0.0)
            chosen = [point for point in chosen if point.level == strongest]
        if quantity.metric in OF_LEARNING:
            chosen = [point for point in chosen if not point.is_untrained]
        chosen = max(within(chosen).values(), key=lambda group: len({point.model for point in group}), default=[])
        if any(point.rounds is not None for point in chosen):
            continue  # too few rounds to rank anything
        chosen = join_trainings(chosen)
        by_model = {point.model: point for point in chosen}
        if FEWEST <= len(by_model) == len(chosen):
            ranked_by[quantity.words] = by_model
    counts = Counter(model for column in ranked_by.values() for model in column)
    kept = {model for model, count in counts.items() if 2 * count >= len(ranked_by)}
    fair = {said: {m: point for m, point in column.items() if m in kept} for said, column in ranked_by.items()}
    return {said: column for said, column in fair.items() if len(column) >= FEWEST}


def standings(columns: Mapping[str, Mapping[str, Point]]) -> dict[str, dict[str, RankRange]]:
    """Quantity -> model -> its standing, for what `ranked` gives."""
    return {said: standings_of(column, _BY_WORDS[said].more_is_better) for said, column in columns.items()}


def standings_of(column: Mapping[str, Point], more_is_better: bool) -> dict[str, RankRange]:
    """The rank of each model, and the ranks left open by those whose intervals meet its own."""
    sign = 1 if more_is_better else -1
    ranges = {}
    for model, point in column.items():
        others = [other for name, other in column.items() if name != model]
        better = sum(sign * other.value > sign * point.value for other in others)
        surely_better = sum(_apart(other, point, sign) for other in others)
        surely_worse = sum(_apart(point, other, sign) for other in others)
        ranges[model] = RankRange(1 + better, 1 + surely_better, len(column) - surely_worse)
    return ranges


def _apart(one: Point, other: Point, sign: int) -> bool:
    """Whether `one` is better beyond both intervals; a value without one is exact."""
    low, high = (ends if sign > 0 else (-ends[1], -ends[0]) for ends in (_interval(one), _interval(other)))
    return low[0] > high[1]


def _interval(point: Point) -> tuple[float, float]:
    return (point.value, point.value) if point.errors is None else (point.low, point.high)


def _draw_rank(
    axes: Axes, column: int, row: int, standing: RankRange, point: Point, quantity: Quantity, count: int
) -> None:
    def x(rank: int) -> float:
        return column - HALF + 2 * HALF * (rank - 1) / max(count - 1, 1)

    colour, marker, _ = point.style
    said = f"{words(point, quantity.metric)}: rank {standing.rank}"
    said += f", {standing.best} to {standing.worst} by the intervals" if standing.best < standing.worst else ""
    axes.plot([x(1), x(count)], [row, row], color=GRID, linewidth=1.0, zorder=1)
    bar = axes.plot([x(standing.best), x(standing.worst)], [row, row], color=colour, linewidth=4, alpha=0.35,
                    solid_capstyle="round", zorder=2)  # fmt: skip
    dot = axes.plot(x(standing.rank), row, marker=MarkerStyle(marker), color=colour, markersize=6, linestyle="",
                    zorder=3)  # fmt: skip
    mark([bar, dot], point.model, said)
