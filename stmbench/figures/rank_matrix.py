"""Where each model stands in everything that was measured: a matrix of ranks, with the ranks its intervals allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, words
from stmbench.figures.groups import within
from stmbench.figures.pareto import accuracy_from
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import GRID, MUTED, canvas, rows_axis, rows_width

FEWEST: Final = 2  # models and quantities
OF_LEARNING: Final = ("accuracy", "calibration_error")  # what untrained models have by chance
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
    Quantity("calibration", "eval", "calibration_error", False),
    Quantity("translation", "invariance_translation", "consistency_auc", True),
    Quantity("rotation", "invariance_rotation", "consistency_auc", True),
    Quantity("scale", "invariance_scale", "consistency_auc", True),
    Quantity("robustness", "robustness", "accuracy", True),
)


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
    found = standings(columns)
    models = list(dict.fromkeys(model for column in columns.values() for model in column))
    if len(columns) < FEWEST or len(models) < FEWEST:
        raise TableError("two quantities of two models", "fewer", "measure more, such as `stmbench eval`")
    mean = {model: _mean([one[model].rank for one in found.values() if model in one]) for model in models}
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
                    _draw(axes, column, row, found[said][model], of_column[model], _of(said), len(of_column))
        for tick, model in zip(axes.get_yticklabels(), models, strict=True):
            mark(tick, next(column[model] for column in columns.values() if model in column).key)
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

    Of several settings the one with most models is ranked, the first of equals. How often random weights are right is
    no result: they have no rank in it. Models that have fewer than half of the quantities are left out: they would have
    ranks in what is cheap to measure.
    """
    found = {}
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
        by_model = {point.model: point for point in chosen}
        if FEWEST <= len(by_model) == len(chosen):
            found[quantity.words] = by_model
    everyone = list(dict.fromkeys(model for column in found.values() for model in column))
    kept = {model for model in everyone if 2 * sum(model in column for column in found.values()) >= len(found)}
    fair = {said: {m: point for m, point in column.items() if m in kept} for said, column in found.items()}
    return {said: column for said, column in fair.items() if len(column) >= FEWEST}


def standings(columns: Mapping[str, Mapping[str, Point]]) -> dict[str, dict[str, RankRange]]:
    """Quantity -> model -> its standing, for what `ranked` gives."""
    return {said: standings_of(column, _of(said).more_is_better) for said, column in columns.items()}


def standings_of(column: Mapping[str, Point], more_is_better: bool) -> dict[str, RankRange]:
    """The rank of each model, and the ranks left open by those whose intervals meet its own."""
    sign = 1 if more_is_better else -1
    found = {}
    for model, point in column.items():
        others = [other for name, other in column.items() if name != model]
        better = sum(sign * other.value > sign * point.value for other in others)
        surely_better = sum(_apart(other, point, sign) for other in others)
        surely_worse = sum(_apart(point, other, sign) for other in others)
        found[model] = RankRange(1 + better, 1 + surely_better, len(column) - surely_worse)
    return found


def _apart(one: Point, other: Point, sign: int) -> bool:
    """Whether `one` is better beyond both intervals; a value without one is exact."""
    low, high = (ends if sign > 0 else (-ends[1], -ends[0]) for ends in (_ends(one), _ends(other)))
    return low[0] > high[1]


def _ends(point: Point) -> tuple[float, float]:
    return (point.value, point.value) if point.errors is None else (point.low, point.high)


def _draw(axes: Axes, column: int, row: int, standing: RankRange, point: Point, quantity: Quantity, count: int) -> None:
    def x(rank: int) -> float:
        return column - HALF + 2 * HALF * (rank - 1) / max(count - 1, 1)

    colour, marker = point.style
    said = f"{words(point, quantity.metric)}: rank {standing.rank}"
    said += f", {standing.best} to {standing.worst} by the intervals" if standing.best < standing.worst else ""
    axes.plot([x(1), x(count)], [row, row], color=GRID, linewidth=1.0, zorder=1)
    bar = axes.plot([x(standing.best), x(standing.worst)], [row, row], color=colour, linewidth=4, alpha=0.35,
                    solid_capstyle="round", zorder=2)  # fmt: skip
    dot = axes.plot(x(standing.rank), row, marker=MarkerStyle(marker), color=colour, markersize=6, linestyle="",
                    zorder=3)  # fmt: skip
    mark([bar, dot], point.key, said)


def _of(said: str) -> Quantity:
    return next(quantity for quantity in QUANTITIES if quantity.words == said)


def _mean(ranks: Sequence[int]) -> float:
    return sum(ranks) / len(ranks)
