"""The size of the last stage's receptive field against accuracy, as in Hu et al., Fig. 5."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.annotations import name_points, room_for_names
from stmbench.figures.display_units import number
from stmbench.figures.erf.maps import erf_rows
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import canvas, heading
from stmbench.figures.svg_annotations import mark, words


def against_accuracy(frame: pd.DataFrame, definition: str, beside: pd.DataFrame) -> Figure | None:
    """A mark for each trained model and weights that both tables know, with both intervals; None where there are none.

    How often random weights are right is no result: they have no mark.
    """
    rows = erf_rows(frame, definition)
    if rows.empty:
        return None
    percent = 50 if (rows["level"] == 50).any() else rows["level"].min()
    rows = rows[rows["level"] == percent]
    last = rows[rows["stage"] == rows.groupby("model")["stage"].transform("max")].copy()
    last.attrs = frame.attrs
    accuracy = _accuracy(beside)
    pairs = [
        (point, accuracy[point.model, str(point.facts["weights"])])
        for point in points(last, "erf")
        if (point.model, str(point.facts["weights"])) in accuracy and not point.is_untrained
    ]
    if not pairs:
        return None
    width, height = room_for_names([size for size, _ in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        for size, right in pairs:
            across, up = ([[length] for length in errors] if errors else None for errors in _errors(size, right))
            bars = axes.errorbar(size.value, 100 * right.value, xerr=across, yerr=up, color=size.look.colour,
                          capsize=3, elinewidth=1.0, zorder=3)  # fmt: skip
            dot = axes.plot(size.value, 100 * right.value, marker=MarkerStyle(size.look.marker), color=size.look.colour,
                      linestyle="none", markersize=8, zorder=4)  # fmt: skip
            mark([bars, dot], size.key, f"{words(size, 'erf')}; accuracy {number(right.value, 'accuracy')} %")
        axes.margins(0.15)
        axes.set_xlabel(f"ERF@{percent:g} of the last stage, of the input's side")
        axes.set_ylabel("top-1 accuracy, %")
        axes.grid(axis="both")
        heading(axes, "Receptive field and accuracy", definition)
        name_points(figure, axes, [(size, size.value, 100 * right.value) for size, right in pairs])
    return figure


def _accuracy(frame: pd.DataFrame) -> dict[tuple[str, str], Point]:
    chosen = frame[frame["analysis"] == "eval"]
    chosen.attrs = frame.attrs
    try:
        return {(point.model, str(point.facts["weights"])): point for point in points(chosen, "accuracy")}
    except TableError:
        return {}


def _errors(size: Point, right: Point) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    up = right.errors
    return size.errors, None if up is None else (100 * up[0], 100 * up[1])
