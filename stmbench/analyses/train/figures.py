"""Training curves: loss and accuracy by epoch, a line for each model, a band over its seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from stmbench.analyses.registry import View
from stmbench.figures.annotations import mark
from stmbench.figures.curves import MOST_NAMES, End, name_ends, set_share_axis, share_limits
from stmbench.figures.palette import Stroke, Style, style_of
from stmbench.figures.plot_data import labels
from stmbench.figures.style import INK, MUTED, canvas, letters, log_axis, shorten
from stmbench.tables.labels import is_self_supervised, recipe_and_seed

SHARES: Final = {
    "accuracy": "top-1 accuracy, %",
    "box_ap": "box AP, %",
    "mask_ap": "mask AP, %",
    "knn_accuracy": "kNN accuracy, %",
    "instance_accuracy": "nearest view, %",
}
PANELS: Final = {
    "train_loss": "training loss",
    **SHARES,
    "teacher_entropy": "teacher's entropy, nats",
    "teacher_divergence": "student's divergence, nats",
}
MARKED: Final = 30  # epochs, beyond which a curve has no marks
ALIKE: Final = 0.002  # of an axis: curves that are closer everywhere lie on each other


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """The runs of one model with one recipe on the same data: mean, least and most after each epoch that all have."""

    name: str
    model: str
    style: Style
    epochs: tuple[int, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def training_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'train'; none where no run has a second epoch.

    A loss of self-distillation is no cross-entropy of labels: of a table with both each has its own figure.
    """
    chosen, found = _epochs(frame), dict[str, Figure]()
    distilled = chosen["weights"].map(is_self_supervised).astype(bool)
    for name, which in (("training_curves", ~distilled), ("self_distillation_curves", distilled)):
        rows = chosen[which]
        rows.attrs = frame.attrs
        if rows["sample"].nunique() > 1:
            found[name] = curves(rows)
    return found if len(found) > 1 else dict(zip(["training_curves"], found.values(), strict=False))


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line where the figure would hold one epoch."""
    chosen = _epochs(frame)
    if chosen.empty or chosen["sample"].nunique() > 1:
        return []
    return ["No figure of training curves: of one epoch there is no curve; its values are in the table."]


def _epochs(frame: pd.DataFrame) -> pd.DataFrame:
    chosen = frame[(frame["analysis"] == "train") & (frame["kind"] == "raw") & frame["value"].notna()]
    chosen = chosen[chosen["metric"].isin(list(PANELS))]
    chosen.attrs = frame.attrs
    return chosen


def curves(rows: pd.DataFrame) -> Figure:
    """Loss (log) and what the task is judged by, against the epoch, with the last values at the ends of the lines.

    Several seeds of one model are a line through their mean with a band over all of them. Curves that lie on each other
    share the line: each has its own dashes.
    """
    panels = {metric: curves_of(rows, metric) for metric in PANELS if (rows["metric"] == metric).any()}
    longest = max(letters(curve.name) for found in panels.values() for curve in found)
    words = _words(rows, max(curve.seeds for found in panels.values() for curve in found))
    width = max(3.2 * len(panels) + 1.8 + 0.075 * longest, 0.075 * len(words))
    with canvas(3.5, width=width, columns=len(panels), sharey=False) as (figure, places):
        for axes, (metric, found) in zip(places, panels.items(), strict=True):
            _scale(axes, metric, found)
            strokes = _shared(axes, found)
            for number, (curve, stroke) in enumerate(zip(found, strokes, strict=True)):
                _draw(axes, curve, stroke, number, len(found), f"{curve.name}: {PANELS[metric]} {_said(curve, metric)}")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.grid(axis="y")
            axes.set_title(PANELS[metric], fontsize=9, loc="left", color=INK, pad=4)
        figure.suptitle("Training", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(words, fontsize=9, color=MUTED)
        for number, (axes, (metric, found)) in enumerate(zip(places, panels.items(), strict=True)):
            named = number + 1 == len(panels)
            ends = [
                End(
                    curve.epochs[-1],
                    curve.value[-1],
                    f"{_number(curve.value[-1], metric)}{f'  {shorten(curve.name)}' if named else ''}",
                    curve.model,
                    curve.style,
                )
                for curve in found
            ]
            if named or len(ends) <= MOST_NAMES:  # the names of many stand once, in a legend
                name_ends(figure, axes, ends)
    return figure


def curves_of(rows: pd.DataFrame, metric: str) -> list[Curve]:
    """Of each model, recipe and data set, in the table's order; in per cent where the metric is a share."""
    names, mixers = labels(rows), rows.attrs.get("mixers", {})
    chosen = rows[rows["metric"] == metric]
    recipes = chosen["weights"].map(lambda weights: recipe_and_seed(weights)[0])
    groups = list(chosen.groupby([chosen["model"], recipes.fillna(""), chosen["dataset"].fillna("")], sort=False))
    several = {model for (model, *_), _ in groups if sum(other[0] == model for other, _ in groups) > 1}
    found = []
    for (model, recipe, _), group in groups:
        newest = group.sort_values("created_utc", kind="stable").drop_duplicates(["weights", "sample"], keep="last")
        table = newest.pivot_table(index="sample", columns="weights", values="value", dropna=False).dropna()
        if table.empty:  # runs of different lengths have no epoch in common
            table = newest.pivot_table(index="sample", columns="weights", values="value").mean(axis=1).to_frame()
        values = table.to_numpy(float) * (100 if metric in SHARES else 1)
        mixer = group["mixer"].iloc[0]
        found.append(
            Curve(
                name=f"{names[str(model)]} · {recipe}" if model in several and recipe else names[str(model)],
                model=str(model),
                style=style_of(str(model if pd.isna(mixer) else mixer), mixers),
                epochs=tuple(int(sample) + 1 for sample in table.index),
                value=tuple(values.mean(axis=1).tolist()),
                low=tuple(values.min(axis=1).tolist()),
                high=tuple(values.max(axis=1).tolist()),
                seeds=values.shape[1],
            )
        )
    return found


def _shared(axes: Axes, found: Sequence[Curve]) -> list[Stroke]:
    """The stroke of each curve; of those that lie on each other dashes that take turns."""
    strokes = [curve.style.stroke for curve in found]
    low, high = axes.get_ylim()
    is_log = axes.get_yscale() == "log"

    def places(curve: Curve) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        ends = np.array([low, high, *curve.value])
        on_axis = np.log(np.maximum(ends, low)) if is_log else ends
        found: np.ndarray[tuple[int], np.dtype[np.float64]] = (on_axis[2:] - on_axis[0]) / (on_axis[1] - on_axis[0])
        return found

    for number, curve in enumerate(found):
        same = [
            other
            for other, candidate in enumerate(found)
            if candidate.epochs == curve.epochs and np.abs(places(candidate) - places(curve)).max() < ALIKE
        ]
        if len(same) > 1:
            turn = same.index(number)
            strokes[number] = (4.0 * turn, (4.0, 4.0 * (len(same) - 1)))
    return strokes


def _draw(axes: Axes, curve: Curve, stroke: Stroke, number: int, count: int, text: str) -> None:
    colour, marker, _ = curve.style
    drawn = []
    if curve.seeds > 1:
        drawn.append(axes.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0))
    marked = len(curve.epochs) <= MARKED
    step = count if stroke != curve.style.stroke and len(curve.epochs) > 1 else 1  # marks of shared lines too
    line = axes.plot(curve.epochs, curve.value, color=colour, linestyle=stroke, linewidth=1.4, markersize=4.0, zorder=3,
                     marker=MarkerStyle(marker) if marked else None,
                     markevery=(number % len(curve.epochs) if step > 1 else 0, step))  # fmt: skip
    mark([*drawn, *line], curve.model, text)


def _scale(axes: Axes, metric: str, found: Sequence[Curve]) -> None:
    ends = [end for curve in found for end in (*curve.low, *curve.high)]
    if metric in SHARES:
        set_share_axis(axes, *share_limits(ends), ends=(0, 100))
    elif positive := [end for end in ends if end > 0]:
        log_axis(axes, "y", min(positive) / 1.3, max(positive) * 1.3)


def _number(value: float, metric: str) -> str:
    return f"{value:.1f}" if metric in SHARES else f"{value:.3g}"


def _said(curve: Curve, metric: str) -> str:
    """The last value: a curve of many epochs has too many to say."""
    spread = f" ({_number(curve.low[-1], metric)} to {_number(curve.high[-1], metric)}, {curve.seeds} seeds)"
    return f"after epoch {curve.epochs[-1]}: {_number(curve.value[-1], metric)}{spread if curve.seeds > 1 else ''}"


def _words(rows: pd.DataFrame, seeds: int) -> str:
    words = []
    for column, unit in (("scale", ""), ("resolution", " px"), ("dataset", ""), ("condition", "")):
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    return " · ".join([*words, *([f"band: {seeds} seeds" if seeds > 1 else "one seed each"])])


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return training_figures(view.rows)
