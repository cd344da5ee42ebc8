"""Latency of one forward pass: median and tail of each model, fastest first."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_point
from stmbench.figures.groups import by_setting, setting_axis
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import INK, MUTED, canvas, heading, rows_height, rows_width

PERCENTILES: Final = ("p50", "p90", "p99")
FILL: Final = {"p50": 1.0, "p90": 0.45, "p99": 0.0}  # opacity of the dot's inside


def latency(frame: pd.DataFrame) -> Figure:
    """Dots at p50, p90 and p99 in ms, with their 95 % intervals. Raises TableError where there is no latency."""
    groups: dict[str, dict[str, Point]] = {}
    for point in points(frame, "latency"):
        if point.condition in PERCENTILES:
            groups.setdefault(point.label, {})[point.condition] = point
    if not groups:
        raise TableError("rows of the metric 'latency' at p50, p90 or p99", "none", "profile the models again")
    every = [point for group in groups.values() for point in group.values()]
    firsts = [next(iter(group.values())) for group in groups.values()]
    rows = by_setting(firsts, lambda first: min(point.value for point in groups[first.label].values()))
    with canvas(rows_height(len(rows.names)), width=rows_width(rows.names)) as (figure, (axes,)):
        setting_axis(axes, rows)
        for row, first in rows.points:
            group = groups[first.label]
            values = [1e3 * point.value for point in group.values()]
            colour, marker = first.look
            span = axes.plot([min(values), max(values)], [row, row], color=colour, linewidth=1.4, alpha=0.55, zorder=2)
            mark(span, first.key)
            for name, point in group.items():
                if point.errors is not None:
                    whiskers = [[1e3 * length] for length in point.errors]
                    drawn = axes.errorbar(
                        1e3 * point.value,
                        row,
                        xerr=whiskers,
                        color=INK,
                        capsize=3,
                        elinewidth=1.0,
                        alpha=0.75,
                        zorder=3,
                    )
                    mark_point(drawn, point, "latency")
                opacity = FILL[name] if point.rounds is None else 0.0  # a few rounds say little
                ground = axes.plot(1e3 * point.value, row, marker=marker, color="white", markersize=7.5, zorder=4)
                inside = axes.plot(
                    1e3 * point.value, row, marker=marker, color=(colour, opacity), markersize=7.5, zorder=5
                )
                edge = axes.plot(
                    1e3 * point.value, row, marker=marker, color="none", markeredgecolor=colour, markeredgewidth=1.3,
                    markersize=7.5, zorder=6,
                )  # fmt: skip
                mark_point([ground, inside, edge], point, "latency")
        axes.set_xlim(
            0, 1.05 * 1e3 * max(max(point.value, point.high) if point.errors else point.value for point in every)
        )
        axes.set_xlabel("ms")
        heading(axes, "Latency", subtitle(every))
        keys = [
            Line2D([], [], marker="o", linestyle="", color=(MUTED, FILL[name]), markeredgecolor=MUTED, label=name)
            for name in PERCENTILES
        ]
        axes.legend(
            handles=keys, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, handletextpad=0.1, columnspacing=1.2,
            borderaxespad=0,
        )  # fmt: skip
    return figure
