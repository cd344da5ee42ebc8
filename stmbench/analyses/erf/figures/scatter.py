"""Size of the last stage's field against what a model is worth: its accuracy, or the box AP of a detector around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.analyses.erf.figures.maps import erf_rows
from stmbench.errors import LeftOutError
from stmbench.figures.annotations import mark, words
from stmbench.figures.curves import join_trainings
from stmbench.figures.names import name_points, room_for_names
from stmbench.figures.plot_data import Point, points, points_of
from stmbench.figures.rank_correlation import correlation_words, spearman
from stmbench.figures.style import canvas, heading
from stmbench.figures.whiskers import CUT, cut_whiskers, filling, is_full, reach, span, whisker
from stmbench.figures.whiskers import note as above
from stmbench.tables.labels import detector_and_backbone
from stmbench.tables.rows import number

FEWEST: Final = 5  # models of a rank correlation: of four, chance alone gives 1 or -1 once in twelve times


class Worth(NamedTuple):
    """What stands on the upright axis: which rows, and in words."""

    figure: str
    analysis: str
    metric: str
    words: str
    title: str
    axis: str


class Pair(NamedTuple):
    """The size of a model's field, and what the model, or the detector around it, is worth."""

    size: Point
    worth: Point


WORTHS: Final = (
    Worth("erf_accuracy", "eval", "accuracy", "accuracy", "Receptive field and accuracy", "top-1 accuracy (%)"),
    Worth("erf_detection", "detection", "box_ap", "box AP", "Receptive field and detection", "box AP (%)"),
)


def against(frame: pd.DataFrame, definition: str, beside: pd.DataFrame, worth: Worth) -> Figure | None:
    """A mark for each trained model that both tables know, with both intervals; None where there are none.

    What random weights are worth is no result: they have no mark. With `FEWEST` models or more of one setting
    Spearman's rank correlation stands above, with a bootstrap interval over models.

    Raises:
        LeftOutError: there would be one mark.
    """
    rows = erf_rows(frame, definition)
    if rows.empty:
        return None
    percent = 50 if (rows["level"] == 50).any() else rows["level"].min()
    rows = rows[rows["level"] == percent]
    last = rows[rows["stage"] == rows.groupby("model")["stage"].transform("max")].copy()
    last.attrs = frame.attrs
    pairs = _pairs(points(last, "erf"), _worths(beside, worth), worth)
    if len(pairs) == 1:
        raise LeftOutError(f"Receptive field against {worth.words} is left out: one trained model would be one point.")
    if not pairs:
        return None
    width, height = room_for_names([right for _, right in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        for set_limits, (low, high) in ((axes.set_xlim, reach([span(size) for size, _ in pairs])),
                                        (axes.set_ylim, reach([span(right, 0.01) for _, right in pairs]))):  # fmt: skip
            room = 0.12 * (high - low) or 0.05 * high or 0.1
            set_limits(low - room, high + room)
        for size, right in pairs:
            at, (colour, marker, _) = (size.value, 100 * right.value), right.style
            across = whisker(axes, size, "erf", at, across=True)
            up = whisker(axes, right, worth.metric, at, factor=0.01)
            inside = colour if is_full(size, right) else "white"
            dot = axes.plot(*at, color=inside, markeredgecolor=colour, marker=MarkerStyle(marker), linestyle="none",
                            markersize=8, zorder=5.5)  # fmt: skip
            said = f"{words(size, 'erf')}; {worth.words} {number(right.value, worth.metric)} %"
            mark([across, up, dot], right.model, said)
        axes.set_xlabel(f"ERF@{percent:g} of the last stage, of the input's side")
        axes.set_ylabel(worth.axis)
        axes.grid(axis="both")
        heading(axes, worth.title, definition)
        hollow = filling(point for pair in pairs for point in pair)
        above(axes, [CUT if cut_whiskers(axes) else "", hollow, correlation_text(pairs)])
        name_points(figure, axes, [(right, size.value, 100 * right.value) for size, right in pairs])
    return figure


def _worths(frame: pd.DataFrame, worth: Worth) -> list[Point]:
    chosen = frame[frame["analysis"] == worth.analysis]
    chosen.attrs = frame.attrs
    return [point for point in points_of(chosen, worth.metric) if not point.is_untrained]


def _pairs(sizes: Sequence[Point], worths: Sequence[Point], worth: Worth) -> list[Pair]:
    """Accuracies with the field of the same weights; detectors with their own field, else with their backbone's.

    A backbone's weights are never a detector's: of several trainings means are paired.
    """
    sizes = [size for size in sizes if not size.is_untrained]
    if worth.analysis != "detection":
        by_weights = {(right.model, right.facts["weights"]): right for right in worths}
        keys = [(size, (size.model, size.facts["weights"])) for size in sizes]
        return [Pair(size, by_weights[key]) for size, key in keys if key in by_weights]
    found = []
    for right in join_trainings(worths):
        for name in _names(right.model):
            own = join_trainings(size for size in sizes if size.model == name)
            if own:
                found += [Pair(size, right) for size in own]
                break
    return found


def _names(model: str) -> Iterator[str]:
    """Under which a detector's field may have been measured: its own, its backbone's, that without the options."""
    _, backbone = detector_and_backbone(model)
    yield from dict.fromkeys((model, backbone, backbone.partition("[")[0]))


def correlation_text(pairs: Sequence[Pair]) -> str:
    """Spearman's rank correlation over the models of one setting; '' of several settings, and of too few models."""
    settings = {(size.comparable, right.comparable) for size, right in pairs}
    models = {right.model for _, right in pairs}
    if len(settings) > 1 or len(models) < FEWEST or len(models) < len(pairs):
        return ""
    value, low, high = spearman([size.value for size, _ in pairs], [right.value for _, right in pairs])
    if np.isnan(value):
        return ""
    return f"Spearman's ρ {correlation_words(value, low, high)} over {len(pairs)} models"
