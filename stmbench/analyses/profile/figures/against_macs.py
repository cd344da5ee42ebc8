"""Speed against MACs: what a multiply-add costs in time differs between mixers by more than the MACs do."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.errors import LeftOutError, TableError
from stmbench.figures.annotations import along, mark_point
from stmbench.figures.groups import join, match
from stmbench.figures.names import name_points, room_for_names
from stmbench.figures.plot_data import Point, points, subtitle, summaries
from stmbench.figures.style import GRID, MUTED, canvas, heading, limits, log_axis
from stmbench.figures.whiskers import CUT, cut_whiskers, filling, is_full, note, reach, span, whisker
from stmbench.tables.rows import display

MAC_METRIC: Final = "achieved_macs_per_second"


def efficiency(frame: pd.DataFrame) -> Figure:
    """Log-log scatter with lines of equal GMAC/s. Raises TableError where throughput or MACs are missing."""
    pairs = join(points(frame, "throughput"), points(frame, "macs"))
    pairs = [(rate, macs) for rate, macs in pairs if rate.value > 0 and macs.value > 0]
    if not pairs:
        raise TableError("rows of the metrics 'throughput' and 'macs' of one model", "none", "profile with timing")
    if len(pairs) == 1:
        raise LeftOutError("Throughput against MACs is left out: it would hold one point. The table has both values.")
    shown = display("macs", values=[macs.value for _, macs in pairs])
    width, height = room_for_names([rate for rate, _ in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        log_axis(axes, "x", *limits([macs.value / shown.factor for _, macs in pairs]))
        log_axis(axes, "y", *limits([*reach([span(rate) for rate, _ in pairs], log=True)], room=1.2))
        axes.set_xlabel(f"MACs per image ({shown.unit})")
        axes.set_ylabel("throughput (images/s)")
        heading(axes, "Efficiency", subtitle([rate for rate, _ in pairs]))
        for rate, macs in pairs:
            _draw(axes, rate, "throughput", (macs.value / shown.factor, rate.value), 1.0, is_full(rate))
        note(axes, [CUT if cut_whiskers(axes) else "", filling(rate for rate, _ in pairs)])
        figure.draw_without_rendering()  # fixes the layout, which turns the words along lines
        _iso_lines(axes, shown.unit.removesuffix("s"))
        name_points(figure, axes, [(rate, macs.value / shown.factor, rate.value) for rate, macs in pairs])
    return figure


def _draw(axes: Axes, point: Point, metric: str, at: tuple[float, float], factor: float, full: bool) -> None:
    colour, marker, _ = point.style
    whisker(axes, point, metric, at, factor=factor)
    dot = axes.plot(
        *at, linestyle="", marker=MarkerStyle(marker), markersize=8, color=colour if full else "white",
        markeredgecolor="white" if full else colour, markeredgewidth=0.7 if full else 1.4, zorder=5.5,
    )  # fmt: skip
    mark_point(dot, point, metric)


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


def _probed(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    kinds: dict[str, Any] = {"device": "string", "dtype": "string", "value": float, "ci_low": float, "ci_high": float}
    return pd.DataFrame(summaries(frame, metric), columns=list(kinds)).astype(kinds)


def roofline(frame: pd.DataFrame) -> Figure:
    """Achieved GMAC/s against arithmetic intensity (MAC/byte), under the probe's peak and bandwidth.

    Raises TableError where the achieved rate, the intensity or the probe's peak is missing.
    """
    pairs = join(points(frame, MAC_METRIC), points(frame, "arithmetic_intensity"))
    pairs = [(rate, intensity) for rate, intensity in pairs if rate.value > 0 and intensity.value > 0]
    peaks = _probed(frame, "probe_peak")
    if not pairs or peaks.empty:
        missing = "probe_peak" if pairs else f"{MAC_METRIC} and arithmetic_intensity"
        raise TableError(f"rows of the metric {missing!r}", "none", "profile with timing")
    # a rate is as sure as the throughput that it comes from
    throughputs = _throughputs(frame)
    sources = [match(rate, throughputs) for rate, _ in pairs]
    bandwidths = _probed(frame, "probe_bandwidth")
    # the probe is measured beside each setting; the roof of a device and precision is the median of these
    peaks = peaks.groupby(["device", "dtype"], dropna=False, sort=False, as_index=False).agg(
        {"value": "median", "ci_low": "min", "ci_high": "max"}
    )
    roofs = [(row["value"] / GIGA, _bandwidth(bandwidths, row), row) for row in peaks.to_dict("records")]
    roofs.sort(key=lambda roof: -roof[0])  # the longest slope gets the name
    width, height = room_for_names([rate for rate, _ in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        knees = [peak / bandwidth for peak, bandwidth, _ in roofs if bandwidth]
        ends = reach([span(rate, GIGA) for rate, _ in pairs], log=True)
        log_axis(axes, "x", *limits([intensity.value for _, intensity in pairs] + knees, room=2))
        log_axis(axes, "y", *limits([*ends, *(peak for peak, _, _ in roofs)], room=1.8))
        axes.set_xlabel("arithmetic intensity (MAC/byte)")
        axes.set_ylabel("achieved rate (GMAC/s)")
        axes.grid(color=GRID, linewidth=0.6)
        heading(axes, "Roofline", subtitle([rate for rate, _ in pairs]))
        for (rate, intensity), source in zip(pairs, sources, strict=True):
            _draw(axes, rate, MAC_METRIC, (intensity.value, rate.value / GIGA), GIGA, is_full(rate, source))
        unsure = filling([*(rate for rate, _ in pairs), *(source for source in sources if source is not None)])
        note(axes, [CUT if cut_whiskers(axes) else "", unsure])
        figure.draw_without_rendering()  # fixes the layout, which turns the words along lines
        named: set[float | None] = {None}
        for peak, bandwidth, row in roofs:
            name = f" ({row['device']} {row['dtype']})" if len(roofs) > 1 else ""
            _peak(axes, peak, bandwidth, (row["ci_low"] / GIGA, row["ci_high"] / GIGA), name)
            if bandwidth is not None:
                _slope(axes, peak, bandwidth, named=bandwidth not in named)
            named.add(bandwidth)
        name_points(figure, axes, [(rate, intensity.value, rate.value / GIGA) for rate, intensity in pairs])
    return figure


def _throughputs(frame: pd.DataFrame) -> Sequence[Point]:
    try:
        return points(frame, "throughput")
    except TableError:
        return []


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
