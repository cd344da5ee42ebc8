"""MACs against throughput: what a multiply-add costs in time differs between mixers by more than the MACs do."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stmbench.errors import TableError
from stmbench.figures.annotations import name_points, room_for_names
from stmbench.figures.matching import join
from stmbench.figures.plot_data import points, subtitle
from stmbench.figures.scatter import along, draw_points, extent, limits
from stmbench.figures.style import GRID, canvas, heading, log_axis


def efficiency(frame: pd.DataFrame) -> Figure:
    """Log-log scatter with lines of equal GMAC/s. Raises TableError where throughput or MACs are missing."""
    pairs = join(points(frame, "throughput"), points(frame, "macs"))
    pairs = [(rate, macs) for rate, macs in pairs if rate.value > 0 and macs.value > 0]
    if not pairs:
        raise TableError("rows of the metrics 'throughput' and 'macs' of one model", "none", "profile with timing")
    drawn = [(rate, macs.value / 1e9, rate.value, 1.0) for rate, macs in pairs]
    width, height = room_for_names([point for point, *_ in drawn])
    with canvas(height, width=width) as (figure, (axes,)):
        log_axis(axes, "x", *limits([x for _, x, _, _ in drawn]))
        log_axis(axes, "y", *limits(extent(drawn)))
        axes.set_xlabel("MACs per image (GMACs)")
        axes.set_ylabel("throughput (images/s)")
        heading(axes, "Efficiency", subtitle([rate for rate, _ in pairs]))
        draw_points(axes, drawn, "throughput")
        name_points(figure, axes, [(point, x, y) for point, x, y, _ in drawn])
        _iso_lines(axes)
    return figure


def _iso_lines(axes: Axes) -> None:
    """Lines of equal MACs per second, x * y = constant, at round values across the axes."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    for rate in _round_values(x0 * y0, x1 * y1):
        axes.plot([x0, x1], [rate / x0, rate / x1], color=GRID, linewidth=1.0, zorder=0.5)
        # just inside the upper or the left edge, whichever the line meets first, with room for the text's height
        x = max(rate / y1 * (y1 / y0) ** 0.05, x0 * (x1 / x0) ** 0.012)
        along(axes, f"{rate:,g} GMAC/s", x, rate / x, -1)


def _round_values(low: float, high: float) -> list[float]:
    """1, 2, 5 in each decade between the ends; fewer where there would be many."""
    steps = (1, 2, 5) if high / low < 300 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for decade in decades for step in steps if low * 1.1 < (value := step * 10.0**decade) < high / 1.1]
