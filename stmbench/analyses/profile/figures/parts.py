"""Cost by part of the network: where the MACs, the time and the parameters of one image are."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_point
from stmbench.figures.groups import Rows, by_setting, match, setting_axis
from stmbench.figures.palette import DETECTOR_PARTS, PARTS
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import INK, MUTED, WIDTH, canvas, heading, rows_axis, rows_height, rows_width
from stmbench.figures.whiskers import digits, note
from stmbench.tables.rows import display

METRICS: Final = ("part_macs", "part_time", "part_params")
COMPARED: Final = ("mixers", "backbone")  # of a classification model and of a detector
MOST_IN_A_ROW: Final = 7  # of the legend
OTHERS: Final = ("#b8c9b0", "#d9c7e0", "#8fb8b0", "#e0c9a6")


def parts(frame: pd.DataFrame) -> Figure:
    """Stacked bars, one panel per metric that the table has. Raises TableError where it has none of them."""
    measured = {}
    for metric in METRICS:
        if ((frame["metric"] == metric) & frame["value"].notna()).any():
            measured[metric] = points(frame, metric)
    if not measured:
        raise TableError(f"rows of the metric {' or '.join(map(repr, METRICS))}", "none", "profile the models again")
    every = [point for chosen in measured.values() for point in chosen]
    # the metric with the most settings has a row for each: MACs and parameters do not depend on the precision
    finest = max(measured.values(), key=lambda chosen: len({point.label for point in chosen}))
    firsts = list({point.label: point for point in finest}.values())
    rows = by_setting(firsts, firsts.index)
    known = list(dict.fromkeys([*DETECTOR_PARTS, *PARTS]))
    names = [*known, *sorted({str(point.condition) for point in every} - set(known))]
    names = [name for name in names if any(point.condition == name for point in every)]
    height = rows_height(len(rows.names), row=0.4, rest=1.75)
    width = rows_width(rows.names) - WIDTH + 1.1 + 2.7 * len(measured)
    columns = math.ceil(len(names) / math.ceil(len(names) / MOST_IN_A_ROW))  # equally many in each row
    with canvas(height, width=width, columns=len(measured)) as (figure, panels):
        for axes, (metric, chosen) in zip(panels, measured.items(), strict=True):
            rows_axis(axes, rows.names)
            _stack(axes, metric, chosen, rows, names)
        setting_axis(panels[0], rows)
        heading(panels[0], "Cost by part", subtitle(every, without=("batch_size",)))
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns,
            handlelength=0.9, handleheight=0.9, columnspacing=1.4,
        )  # fmt: skip
    return figure


def _stack(axes: Axes, metric: str, chosen: list[Point], rows: Rows, names: list[str]) -> None:
    totals = [sum(point.value for point in chosen if point.label == first.label) for _, first in rows.points]
    shown = display(metric, values=totals)
    starts = dict.fromkeys((row for row, _ in rows.points), 0.0)
    for index, name in enumerate(names):
        candidates = [point for point in chosen if point.condition == name]
        colour = {**DETECTOR_PARTS, **PARTS}.get(name, OTHERS[index % len(OTHERS)])
        matched = [(row, match(first, candidates)) for row, first in rows.points]
        values = [0.0 if point is None else point.value / shown.factor for _, point in matched]
        bars = axes.barh(
            list(starts), values, left=list(starts.values()), height=0.44, color=colour, edgecolor="white",
            linewidth=0.5, label=name, zorder=2,
        )  # fmt: skip
        for bar, value, (row, point) in zip(bars, values, matched, strict=True):
            starts[row] += value
            if point is None:
                continue
            mark_point(bar, point, metric)
    furthest = max(starts.values())
    axes.set_xlim(0, 1.02 * furthest if furthest > 0 else 1)
    axes.set_xlabel(f"{shown.name}{'' if metric == 'part_params' else ' per image'} ({shown.unit})")
    timed: dict[str, None] = {}
    for row, first in rows.points:
        total = axes.annotate(f"{starts[row]:#.3g}".rstrip("."), (starts[row], row), (4, 0), textcoords="offset points",
                              va="center", fontsize=8, color=INK)  # fmt: skip
        mark(total, first.model)
        for name in COMPARED:
            part = match(first, [point for point in chosen if point.condition == name])
            if part is None or part.errors is None:
                continue
            share, interval = digits(part, metric, shown.factor)
            said = axes.annotate(f"{name} {share} ({interval})", (0, row), (1, -11), textcoords="offset points",
                                 va="center", fontsize=6.5, color=MUTED)  # fmt: skip
            mark(said, first.model)
            timed[name] = None
    if timed:
        note(axes, [f"small: 95 % interval of the {' or '.join(timed)}"])
