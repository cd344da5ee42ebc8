"""Cost by part of the network: where the MACs, the time and the parameters are."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stmbench.errors import TableError
from stmbench.figures.marks import mark, mark_point
from stmbench.figures.points import Point, points, subtitle
from stmbench.figures.quantities import display
from stmbench.figures.style import INK, canvas, heading, rows_axis, rows_height, rows_width

METRICS: Final = ("part_macs", "part_time", "part_params")
# the mixer is what is compared, so it is the one part in a strong colour
COLOURS: Final = {
    "mixers": "#c2452d",
    "mlps": "#4f6d8f",
    "norms": "#93a8bf",
    "transitions": "#a7a294",
    "stem": "#d3cebf",
    "head": "#6f6b60",
    "other": "#ebe8df",
}
OTHERS: Final = ("#b8c9b0", "#d9c7e0", "#8fb8b0", "#e0c9a6")


def parts(frame: pd.DataFrame) -> Figure:
    """Stacked bars, one panel per metric that the table has. Raises TableError where it has none of them."""
    found = {}
    for metric in METRICS:
        if ((frame["metric"] == metric) & frame["value"].notna()).any():
            found[metric] = points(frame, metric)
    if not found:
        raise TableError(f"rows of the metric {' or '.join(map(repr, METRICS))}", "none", "profile the models again")
    every = [point for chosen in found.values() for point in chosen]
    labels = list(dict.fromkeys(point.label for point in every))
    names = [*COLOURS, *sorted({str(point.condition) for point in every} - set(COLOURS))]
    names = [name for name in names if any(point.condition == name for point in every)]
    with canvas(rows_height(len(labels), rest=1.75), width=rows_width(labels), columns=len(found)) as (figure, panels):
        for axes, (metric, chosen) in zip(panels, found.items(), strict=True):
            rows_axis(axes, labels)
            _stack(axes, metric, chosen, labels, names)
        for tick, label in zip(panels[0].get_yticklabels(), labels, strict=True):
            mark(tick, next(point.key for point in every if point.label == label))
        heading(panels[0], "Cost by part", subtitle(every, without=("batch_size",)))
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(names), 7),
            handlelength=0.9, handleheight=0.9, columnspacing=1.4,
        )  # fmt: skip
    return figure


def _stack(axes: Axes, metric: str, chosen: list[Point], labels: list[str], names: list[str]) -> None:
    shown = display(metric)
    starts = [0.0] * len(labels)
    for index, name in enumerate(names):
        values = [0.0] * len(labels)
        for point in chosen:
            if point.condition == name:
                row = labels.index(point.label)
                values[row] = point.value / shown.factor
                if point.errors is not None:
                    whiskers = [[length / shown.factor] for length in point.errors]
                    drawn = axes.errorbar(
                        starts[row] + values[row],
                        row,
                        xerr=whiskers,
                        color=INK,
                        elinewidth=0.8,
                        capsize=1.5,
                        alpha=0.8,
                        zorder=4,
                    )
                    mark_point(drawn, point, metric)
        colour = COLOURS.get(name, OTHERS[index % len(OTHERS)])
        bars = axes.barh(
            range(len(labels)), values, left=starts, height=0.64, color=colour, edgecolor="white", linewidth=0.5,
            label=name, zorder=2,
        )  # fmt: skip
        for point in chosen:
            if point.condition == name:
                mark_point(bars[labels.index(point.label)], point, metric)
        starts = [start + value for start, value in zip(starts, values, strict=True)]
    axes.set_xlim(0, 1.04 * max(starts) if max(starts) > 0 else 1)
    axes.set_xlabel(f"{shown.name} ({shown.unit})")
