"""Throughput of each model, fastest first, its ranks and latencies, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stmbench.errors import LeftOutError, TableError
from stmbench.figures.annotations import mark, mark_point
from stmbench.figures.groups import by_setting, setting_axis
from stmbench.figures.palette import text_on
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import GRID, INK, MUTED, canvas, heading, rows_height, rows_width
from stmbench.figures.whiskers import CUT, cut_whiskers, digits, filling, note, reach, span, whisker
from stmbench.tables.labels import FEWEST_TO_RANK


def throughput(frame: pd.DataFrame) -> Figure:
    """Bars of images/s, with the numbers in a column beside them; hatched where less sure than was asked for.

    Raises TableError where there is no throughput, and LeftOutError where it is of one model in one setting.
    """
    chosen = points(frame, "throughput")
    if len(chosen) == 1:
        raise LeftOutError("The figure of throughput is left out: it would hold one bar. The table has its value.")
    rows = by_setting(chosen, lambda point: -point.value)
    with canvas(rows_height(len(rows.names)), width=rows_width(rows.names)) as (figure, (axes,)):
        setting_axis(axes, rows)
        axes.set_xlim(0, 1.04 * reach([span(point) for point in chosen])[1])
        for row, point in rows.points:
            bar = axes.barh(row, point.value, height=0.62, color=point.style.colour, alpha=0.88, zorder=2)
            mark_point(bar, point, "throughput")
            if not point.resolved:
                bar[0].set(alpha=0.45, hatch="////", edgecolor="white", linewidth=0)
                if point.rounds is not None:
                    bar[0].set(alpha=1, hatch="", facecolor="white", edgecolor=point.style.colour, linewidth=1.2)
            whisker(axes, point, "throughput", (point.value, row), across=True, cap=4)
            value, interval = digits(point, "throughput")
            for text, right, side, colour, size in ((value, 46, "right", INK, 9), (interval, 54, "left", MUTED, 7.5)):
                said = axes.annotate(
                    text, (1, row), (right, 0), axes.get_yaxis_transform(), textcoords="offset points", ha=side,
                    va="center", color=colour, fontsize=size,
                )  # fmt: skip
                mark(said, point.model)
        axes.set_xlabel("images/s")
        heading(axes, "Throughput", subtitle(chosen))
        few = filling(point for point in chosen if point.rounds is not None)
        wide = any(not point.resolved and point.rounds is None for point in chosen)
        cut = CUT if cut_whiskers(axes) else ""
        has_intervals = any(point.errors is not None for point in chosen)
        if has_intervals:
            axes.annotate("95 % interval", (1, 0), (54, -4), "axes fraction", textcoords="offset points", va="top",
                          color=MUTED, fontsize=7.5)  # fmt: skip
        hatched = "hatched: interval wider than asked for" if wide else ""
        note(axes, [cut, few, hatched], beyond=104 if has_intervals else 46)
    return figure


MOST_NUMBERS: Final = 10  # ranks beyond which the percentages would not fit


def ranks(frame: pd.DataFrame) -> Figure:
    """A dot matrix: the dot's area is the probability.

    Raises TableError where there is no rank_probability, and LeftOutError where it stands on a few rounds only.
    """
    groups = rank_groups(frame)
    every = [point for group in groups.values() for point in group]
    rows = by_setting(
        [group[0] for group in groups.values()],
        lambda first: sum(point.level * point.value for point in groups[first.label]),
    )
    last = max(int(point.level) for point in every)
    width = min(9.0, rows_width(rows.names) - 4.4 + 0.62 * max(last, 4))
    with canvas(1.15 + 0.4 * max(len(rows.names), 2), width=width) as (figure, (axes,)):
        setting_axis(axes, rows)
        axes.grid(axis="y", color=GRID)
        axes.grid(axis="x", color=GRID)
        largest = 300 if last <= MOST_NUMBERS else 90
        for row, first in rows.points:
            for point in groups[first.label]:
                if point.value <= 0:
                    continue
                dot = axes.scatter(
                    point.level,
                    row,
                    s=largest * point.value,
                    color=point.style.colour,
                    linewidth=0,
                    zorder=2,
                )
                mark_point(dot, point, "rank_probability")
                if last <= MOST_NUMBERS:
                    _percent(axes, point, row)
        axes.set_xlim(0.4, last + 0.6)
        axes.set_xticks(range(1, last + 1))
        axes.set_xlabel("rank in throughput (1 is the fastest); numbers are per cent")
        heading(axes, "Probability of each rank", " · ".join(filter(None, (subtitle(every), _rounds(every)))))
    return figure


def rank_groups(frame: pd.DataFrame) -> dict[str, list[Point]]:
    """Label -> the probability of each rank, of what was timed in FEWEST_TO_RANK rounds and beside others.

    Raises TableError where there is none, and LeftOutError where all stands on fewer rounds.
    """
    every = [point for point in points(frame, "rank_probability") if point.level >= 1]
    if not every:
        raise TableError("rows of the metric 'rank_probability' with a rank as level", "none", "profile with timing")
    counts = [point.count for point in every if point.count is not None]
    groups: dict[str, list[Point]] = {}
    for point in every:
        if point.count is None or point.count >= FEWEST_TO_RANK:
            groups.setdefault(point.label, []).append(point)
    if not groups:
        raise LeftOutError(
            f"Probabilities of ranks are left out: of {max(counts)} rounds they would look surer than they are "
            f"({FEWEST_TO_RANK} are the fewest)."
        )
    if len(groups) < 2:
        raise LeftOutError("Probabilities of ranks are left out: one model has no rank.")
    return groups


def _rounds(every: Sequence[Point]) -> str:
    """'N = 43 rounds': what was resampled."""
    counts = sorted({point.count for point in every if point.count is not None})
    return "" if not counts else f"N = {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} rounds"


def _percent(axes: Axes, point: Point, row: int) -> None:
    """The percentage inside a dot that can hold it, beside a smaller one."""
    percent = 100 * point.value
    text = "<1" if percent < 1 else ">99" if 99 < percent < 100 else f"{percent:.0f}"
    if point.value >= 0.6:
        said = axes.annotate(text, (point.level, row), ha="center", va="center", color=text_on(point.style.colour),
                             fontsize=7, zorder=3)  # fmt: skip
    else:
        said = axes.annotate(
            text, (point.level, row), (8, 5), textcoords="offset points", ha="left", va="center", fontsize=7,
            color=INK if point.value >= 0.05 else MUTED, zorder=3,
        )  # fmt: skip
    mark(said, point.model)


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
            colour, marker, _ = first.style
            line = axes.plot([min(values), max(values)], [row, row], color=colour, linewidth=1.4, alpha=0.55, zorder=2)
            mark(line, first.model)
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
        axes.set_xlim(0, 1.05 * reach([span(point, 1e-3) for point in every])[1])
        axes.set_xlabel(f"ms ({CUT})" if cut_whiskers(axes, "{:,.4g}".format) else "ms")
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
