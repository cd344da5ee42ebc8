"""Throughput of each model, fastest first, with 95 % intervals."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stmbench.figures.display_units import number
from stmbench.figures.groups import by_setting, setting_axis
from stmbench.figures.plot_data import points, subtitle
from stmbench.figures.style import INK, MUTED, canvas, heading, rows_height, rows_width
from stmbench.figures.svg_annotations import mark, mark_point


def throughput(frame: pd.DataFrame) -> Figure:
    """Bars of images/s; hatched and lighter where less sure than was asked for.

    Raises TableError where there is no throughput.
    """
    chosen = points(frame, "throughput")
    rows = by_setting(chosen, lambda point: -point.value)
    with canvas(rows_height(len(rows.names)), width=rows_width(rows.names)) as (figure, (axes,)):
        setting_axis(axes, rows)
        for row, point in rows.points:
            bar = axes.barh(row, point.value, height=0.62, color=point.look.colour, alpha=0.88, zorder=2)
            mark_point(bar, point, "throughput")
            if not point.resolved:
                bar[0].set(alpha=0.45, hatch="////", edgecolor="white", linewidth=0)
                if point.rounds is not None:
                    bar[0].set(alpha=1, hatch="", facecolor="white", edgecolor=point.look.colour, linewidth=1.2)
            end = point.value
            if point.errors is not None:
                whiskers = [[length] for length in point.errors]
                drawn = axes.errorbar(point.value, row, xerr=whiskers, color=INK, capsize=3, elinewidth=1.1, zorder=3)
                mark_point(drawn, point, "throughput")
                end = point.value + point.errors[1]
            beside = axes.annotate(
                number(point.value, "throughput"), (end, row), (6, 0), textcoords="offset points", va="center"
            )
            mark(beside, point.key)
        axes.set_xlim(0, 1.12 * max(point.high if point.high > point.value else point.value for point in chosen))
        axes.set_xlabel("images/s")
        heading(axes, "Throughput", subtitle(chosen))
        if not all(point.resolved for point in chosen):
            few = next((point.rounds for point in chosen if point.rounds is not None), None)
            said = f"hollow: {few}, too few for an interval" if few else "hatched: interval wider than asked for"
            axes.annotate(
                said, (1, 1), (0, 9), "axes fraction", textcoords="offset points", ha="right", va="center",
                color=MUTED, fontsize=8.5,
            )  # fmt: skip
    return figure
