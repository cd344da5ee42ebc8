"""Throughput of each model, fastest first, its ranks and latencies, with 95 % intervals; and speed against MACs.

What a multiply-add costs in time differs between mixers by more than the MACs do: `efficiency` and `roofline` show it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stmbench.errors import TableError
from stmbench.figures.annotations import along, draw_points, extent, mark, mark_point, name_points, room_for_names
from stmbench.figures.groups import by_setting, join, setting_axis
from stmbench.figures.palette import text_on
from stmbench.figures.plot_data import Point, points, subtitle, summaries
from stmbench.figures.style import GRID, INK, MUTED, canvas, heading, limits, log_axis, rows_height, rows_width
from stmbench.tables.rows import display, number


def throughput(frame: pd.DataFrame) -> Figure:
    """Bars of images/s; hatched and lighter where less sure than was asked for.

    Raises TableError where there is no throughput.
    """
    chosen = points(frame, "throughput")
    rows = by_setting(chosen, lambda point: -point.value)
    with canvas(rows_height(len(rows.names)), width=rows_width(rows.names)) as (figure, (axes,)):
        setting_axis(axes, rows)
        for row, point in rows.points:
            bar = axes.barh(row, point.value, height=0.62, color=point.style.colour, alpha=0.88, zorder=2)
            mark_point(bar, point, "throughput")
            if not point.resolved:
                bar[0].set(alpha=0.45, hatch="////", edgecolor="white", linewidth=0)
                if point.rounds is not None:
                    bar[0].set(alpha=1, hatch="", facecolor="white", edgecolor=point.style.colour, linewidth=1.2)
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


MOST_NUMBERS = 10  # ranks beyond which the percentages would not fit


def ranks(frame: pd.DataFrame) -> Figure:
    """A dot matrix: the dot's area is the probability. Raises TableError where there is no rank_probability."""
    groups: dict[str, list[Point]] = {}
    for point in points(frame, "rank_probability"):
        if point.level >= 1:
            groups.setdefault(point.label, []).append(point)
    if not groups:
        raise TableError("rows of the metric 'rank_probability' with a rank as level", "none", "profile with timing")
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
        axes.set_xlabel("rank in throughput (1 is the fastest)")
        heading(axes, "Probability of each rank", subtitle(every))
    return figure


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
    mark(said, point.key)


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


def efficiency(frame: pd.DataFrame) -> Figure:
    """Log-log scatter with lines of equal GMAC/s. Raises TableError where throughput or MACs are missing."""
    pairs = join(points(frame, "throughput"), points(frame, "macs"))
    pairs = [(rate, macs) for rate, macs in pairs if rate.value > 0 and macs.value > 0]
    if not pairs:
        raise TableError("rows of the metrics 'throughput' and 'macs' of one model", "none", "profile with timing")
    shown = display("macs", values=[macs.value for _, macs in pairs])
    drawn = [(rate, macs.value / shown.factor, rate.value, 1.0) for rate, macs in pairs]
    width, height = room_for_names([point for point, *_ in drawn])
    with canvas(height, width=width) as (figure, (axes,)):
        log_axis(axes, "x", *limits([x for _, x, _, _ in drawn]))
        log_axis(axes, "y", *limits(extent(drawn)))
        axes.set_xlabel(f"MACs per image ({shown.unit})")
        axes.set_ylabel("throughput (images/s)")
        heading(axes, "Efficiency", subtitle([rate for rate, _ in pairs]))
        draw_points(axes, drawn, "throughput")
        name_points(figure, axes, [(point, x, y) for point, x, y, _ in drawn])
        _iso_lines(axes, shown.unit.removesuffix("s"))
    return figure


def _iso_lines(axes: Axes, unit: str) -> None:
    """Lines of equal MACs per second (in GMAC or MMAC), x * y = constant, at round values across the axes."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    for rate in _round_values(x0 * y0, x1 * y1):
        axes.plot([x0, x1], [rate / x0, rate / x1], color=GRID, linewidth=1.0, zorder=0.5)
        # just inside the upper or the left edge, whichever the line meets first, with room for the text's height
        x = max(rate / y1 * (y1 / y0) ** 0.05, x0 * (x1 / x0) ** 0.012)
        along(axes, _rate(rate, unit), x, rate / x, -1)


def _rate(rate: float, unit: str) -> str:
    """'5 MMAC/s', '2 GMAC/s'."""
    return f"{rate / 1000:,g} GMAC/s" if unit == "MMAC" and rate >= 1000 else f"{rate:,g} {unit}/s"


def _round_values(low: float, high: float) -> list[float]:
    """1, 2, 5 in each decade between the ends; fewer where there would be many."""
    steps = (1, 2, 5) if high / low < 300 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for decade in decades for step in steps if low * 1.1 < (value := step * 10.0**decade) < high / 1.1]


GIGA = 1e9


def roofline(frame: pd.DataFrame) -> Figure:
    """Achieved GMAC/s against arithmetic intensity (MAC/byte), under the probe's peak and bandwidth.

    Raises TableError where the achieved rate, the intensity or the probe's peak is missing.
    """
    pairs = join(points(frame, "achieved_macs_per_second"), points(frame, "arithmetic_intensity"))
    pairs = [(rate, intensity) for rate, intensity in pairs if rate.value > 0 and intensity.value > 0]
    peaks = summaries(frame, "probe_peak")
    if not pairs or peaks.empty:
        missing = "probe_peak" if pairs else "achieved_macs_per_second and arithmetic_intensity"
        raise TableError(f"rows of the metric {missing!r}", "none", "profile with timing")
    bandwidths = summaries(frame, "probe_bandwidth")
    drawn = [(rate, intensity.value, rate.value / GIGA, GIGA) for rate, intensity in pairs]
    # the probe is measured beside each setting; the roof of a device and precision is the median of these
    peaks = peaks.groupby(["device", "dtype"], dropna=False, sort=False, as_index=False).agg(
        {"value": "median", "ci_low": "min", "ci_high": "max"}
    )
    roofs = [(row["value"] / GIGA, _bandwidth(bandwidths, row), row) for row in peaks.to_dict("records")]
    roofs.sort(key=lambda roof: -roof[0])  # the longest slope gets the name
    width, height = room_for_names([point for point, *_ in drawn])
    with canvas(height, width=width) as (figure, (axes,)):
        knees = [peak / bandwidth for peak, bandwidth, _ in roofs if bandwidth]
        log_axis(axes, "x", *limits([x for _, x, _, _ in drawn] + knees, room=2))
        log_axis(axes, "y", *limits(extent(drawn) + [peak for peak, _, _ in roofs], room=1.8))
        axes.set_xlabel("arithmetic intensity (MAC/byte)")
        axes.set_ylabel("achieved rate (GMAC/s)")
        axes.grid(color=GRID, linewidth=0.6)
        heading(axes, "Roofline", subtitle([rate for rate, _ in pairs]))
        draw_points(axes, drawn, "achieved_macs_per_second")
        name_points(figure, axes, [(point, x, y) for point, x, y, _ in drawn])
        named: set[float | None] = {None}
        for peak, bandwidth, row in roofs:
            name = f" ({row['device']} {row['dtype']})" if len(roofs) > 1 else ""
            _peak(axes, peak, bandwidth, (row["ci_low"] / GIGA, row["ci_high"] / GIGA), name)
            if bandwidth is not None:
                _slope(axes, peak, bandwidth, named=bandwidth not in named)
            named.add(bandwidth)
    return figure


def _peak(axes: Axes, peak: float, bandwidth: float | None, interval: tuple[float, float], name: str) -> None:
    """The flat roof, with its interval as a band."""
    x0, x1 = axes.get_xlim()
    knee = min(max(peak / bandwidth, x0), x1) if bandwidth else x0
    axes.plot([knee, x1], [peak, peak], color=MUTED, linewidth=1.4, zorder=2)
    if not any(math.isnan(end) for end in interval):
        axes.fill_between([knee, x1], interval[0], interval[1], color=MUTED, alpha=0.15, linewidth=0, zorder=1)
    along(axes, f"measured peak{name}: {peak:,.3g} GMAC/s", x1 * (x0 / x1) ** 0.01, peak * 1.02, 0, ends=True)


def _slope(axes: Axes, peak: float, bandwidth: float, *, named: bool) -> None:
    """The sloping roof: what the bandwidth lets through, up to the knee."""
    x0, x1 = axes.get_xlim()
    knee, start = min(peak / bandwidth, x1), max(x0, axes.get_ylim()[0] / bandwidth)
    if start >= knee:
        return
    axes.plot([start, knee], [bandwidth * start, bandwidth * knee], color=MUTED, linewidth=1.4, zorder=2)
    if named:
        x = start * (knee / start) ** 0.12
        along(axes, f"measured bandwidth: {bandwidth:,.3g} GB/s", x, bandwidth * x * 1.03, 1)


def _bandwidth(bandwidths: pd.DataFrame, peak: dict[Hashable, Any]) -> float | None:
    """The bandwidth measured on the peak's device, in GB/s: 1 GMAC/s per MAC/byte is 1 GB/s."""
    same = bandwidths[(bandwidths["device"] == peak["device"]).fillna(pd.isna(peak["device"]))]
    return None if same.empty else float(same["value"].median()) / GIGA
