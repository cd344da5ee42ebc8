"""Whether self-distillation ranks models as labels do: kNN accuracies of both trainings, and their rank correlation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.scale import FuncScale
from numpy.typing import ArrayLike

from stmbench.analyses.probe.figures.accuracies import knn_points, last_epochs, of_probes, shown_k
from stmbench.analyses.probe.options import KNN
from stmbench.figures.annotations import mark
from stmbench.figures.curves import ends_of, join_trainings, set_share_axis, share_limits
from stmbench.figures.dots import conditions
from stmbench.figures.names import name_points, room_for_names
from stmbench.figures.plot_data import Point
from stmbench.figures.rank_correlation import correlation_words, spearman
from stmbench.figures.style import MUTED, canvas, heading
from stmbench.tables.labels import is_self_supervised, recipe_and_seed
from stmbench.tables.rows import number

FEWEST: Final = 4  # models with both trainings
FAR: Final = (
    5  # times the errors of the model in the middle: an axis of errors' logarithm, else all others are one spot
)
LEAST_MISSING: Final = 0.02  # of 100 %, on such an axis
TICKS: Final = (0, 20, 40, 60, 80, 90, 95, 98, 99, 99.5, 99.9)


class Both(NamedTuple):
    """One model: its mean under labels and under self-distillation, and the accuracies of their trainings."""

    labelled: Point
    distilled: Point
    labelled_each: tuple[float, ...]
    distilled_each: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rankings:
    """Models that were trained in both ways, under one recipe each, and probed in the same way.

    Attributes:
        k: number of neighbours.
        correlation: Spearman's and its interval, over models and their trainings; NaN where one way tells none apart.
    """

    k: int
    labelled: str
    distilled: str
    models: tuple[Both, ...]
    correlation: tuple[float, float, float]

    @property
    def sentence(self) -> str:
        """The answer."""
        value, low, high = self.correlation
        count = len(self.models)
        if math.isnan(value):
            return f"All accuracies of one of the two trainings are the same, so that {count} models have no ranking."
        said = f"Spearman's ρ over {count} models is {correlation_words(value, low, high)}"
        if low > 0:
            return f"Self-distillation and labels rank the models alike to some degree: {said}."
        if high < 0:
            return f"Self-distillation and labels rank the models in opposite orders: {said}."
        return f"Whether self-distillation ranks the models as labels do is inconclusive: {said}."

    @property
    def text(self) -> str:
        """For the figure; '' without a correlation."""
        value, low, high = self.correlation
        words = f"Spearman's ρ {correlation_words(value, low, high)} over {len(self.models)} models"
        return "" if math.isnan(value) else words

    @property
    def ranks(self) -> list[tuple[float, float]]:
        """Of each model under labels and under self-distillation, 1 for the highest; ties have their mean rank."""
        columns = ([-one.labelled.value for one in self.models], [-one.distilled.value for one in self.models])
        first, second = (pd.Series(values).round(12).rank().tolist() for values in columns)
        return list(zip(first, second, strict=True))


def rankings_of(frame: pd.DataFrame) -> Rankings | None:
    """The two recipes that share the most models; None below `FEWEST` of them."""
    by_k = knn_points(last_epochs(of_probes(frame)))
    if (k := shown_k(by_k)) is None:
        return None
    runs: dict[tuple[Any, ...], dict[str, list[Point]]] = {}
    for point in by_k[k]:
        recipe, seed = recipe_and_seed(point.facts["weights"])
        if seed and not point.is_untrained:
            key = (recipe, point.facts["dataset"], point.comparable)
            runs.setdefault(key, {}).setdefault(point.model, []).append(point)
    pairs = [
        (one, other)
        for one in runs
        for other in runs
        if one[1:] == other[1:] and is_self_supervised(other[0]) and not is_self_supervised(one[0])
    ]
    shared = {pair: [model for model in runs[pair[0]] if model in runs[pair[1]]] for pair in pairs}
    best = max(shared, key=lambda pair: len(shared[pair]), default=None)
    if best is None or len(shared[best]) < FEWEST:
        return None
    models = tuple(_both(*(runs[key][model] for key in best)) for model in shared[best])
    models = tuple(sorted(models, key=lambda one: -one.labelled.value))
    correlation = spearman([one.labelled_each for one in models], [one.distilled_each for one in models])
    return Rankings(k=k, labelled=best[0][0], distilled=best[1][0], models=models, correlation=correlation)


def _counts(models: Sequence[Both]) -> str:
    """'2 trainings with labels, 1 to 3 without'; '' where each model has one of each."""
    counts = [[one.labelled.trainings for one in models], [one.distilled.trainings for one in models]]
    if all(count == 1 for side in counts for count in side):
        return ""
    said = [f"{min(side)}" if min(side) == max(side) else f"{min(side)} to {max(side)}" for side in counts]
    return f"trainings of each: {said[0]} with labels, {said[1]} without"


def _set_scale(axes: Axes, which: str, values: Sequence[float], ends: Sequence[float]) -> None:
    """Of shares in per cent: by the logarithm of what is missing to 100 % where one is far worse than the others.

    Args:
        ends: of all intervals, as shares.
    """
    low, high = share_limits([100 * end for end in ends])
    missing = sorted(max(100 - value, LEAST_MISSING) for value in values)
    if missing[-1] < FAR * missing[len(missing) // 2]:
        set_share_axis(axes, low, high, which=which, ends=(0, 100))
        return
    low, high = max(low, 0), 100 - 0.8 * max(min(100 - 100 * end for end in ends), LEAST_MISSING)
    places = [tick for tick in TICKS if low <= tick <= high]
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": FuncScale(axis, (_from_missing, _to_share))})
    axes.set(**{f"{which}lim": (low, high)})
    axis.set_ticks(places, [f"{tick:g}" for tick in places])


def _from_missing(share: ArrayLike) -> ArrayLike:
    return -np.log(np.maximum(100 - np.asarray(share, dtype=np.float64), LEAST_MISSING))


def _to_share(place: ArrayLike) -> ArrayLike:
    return 100 - np.exp(-np.asarray(place, dtype=np.float64))


def _both(labelled: Sequence[Point], distilled: Sequence[Point]) -> Both:
    # alone a model has one recipe and needs no words for it
    first, second = (dataclasses.replace(join_trainings(found)[0], setting="") for found in (labelled, distilled))
    values = (tuple(point.value for point in found) for found in (labelled, distilled))
    return Both(first, second, *values)


def against(rankings: Rankings) -> Figure:
    """A mark for each model with both intervals, Spearman's rank correlation above them."""
    models = rankings.models
    width, height = room_for_names([one.labelled for one in models])
    with canvas(height, width=width) as (figure, (axes,)):
        for which, side in (("x", [one.labelled for one in models]), ("y", [one.distilled for one in models])):
            _set_scale(axes, which, [100 * point.value for point in side], [e for p in side for e in ends_of(p)])
        places = [(100 * one.labelled.value, 100 * one.distilled.value) for one in models]
        for one, at in zip(models, places, strict=True):
            colour, marker, _ = one.labelled.style
            across, up = ([100 * end for end in ends_of(point)] for point in (one.labelled, one.distilled))
            whiskers = [*axes.plot(across, [at[1]] * 2, color=colour, alpha=0.45, linewidth=1.1, zorder=3),
                        *axes.plot([at[0]] * 2, up, color=colour, alpha=0.45, linewidth=1.1, zorder=3)]  # fmt: skip
            dot = axes.plot(
                *at, color=colour, markeredgecolor="white", marker=MarkerStyle(marker), linestyle="none", markersize=8,
                zorder=5.5,
            )  # fmt: skip
            values = (number(point.value, KNN) for point in (one.labelled, one.distilled))
            said = "{}: {} % under labels, {} % under self-distillation".format(one.labelled.name, *values)
            mark([whiskers, dot], one.labelled.model, said)
        axes.set_xlabel(f"kNN accuracy under labels (k = {rankings.k}), %")
        axes.set_ylabel(f"kNN accuracy under DINO (k = {rankings.k}), %")
        axes.grid(axis="both")
        alone = [dataclasses.replace(one.labelled, trainings=1) for one in models]  # their numbers stand below
        heading(axes, "Models under self-distillation and under labels", conditions(alone))
        below = " · ".join(filter(None, (rankings.text, _counts(models))))
        figure.supxlabel(below, fontsize=9, color=MUTED)  # beside the conditions there is no room for it
        name_points(figure, axes, [(one.labelled, *at) for one, at in zip(models, places, strict=True)])
    return figure
