"""Base units for the eye: the table says 8.5e8 MAC, a reader sees 0.85 GMACs."""

from __future__ import annotations

import math
from typing import NamedTuple

from stmbench.analyses.registry import metric as registered


class Display(NamedTuple):
    """How a metric is shown: its name, the unit it is shown in, how many base units that is, and decimals."""

    name: str
    unit: str
    factor: float
    decimals: int
    before_level: str = " "  # what parts the name from a row's level


def display(metric: str, unit: str = "") -> Display:
    """How `metric` is shown; one that has no entry is shown in its base unit, under its own name."""
    facts = registered(metric)
    title = metric.replace("_", " ")
    if facts is None:
        return Display(title, "" if unit == "1" else unit, 1.0, 3)
    base = unit or facts.unit
    shown_unit = ("" if base == "1" else base) if facts.shown_unit is None else facts.shown_unit
    return Display(facts.title or title, shown_unit, facts.factor, facts.decimals, facts.before_level)


def number(value: float | None, metric: str) -> str:
    """The value in the metric's display unit, without the unit; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    shown = display(metric)
    scaled = value / shown.factor
    # fixed decimals line up in a column; a value that they would leave one digit of gets three significant ones
    small = scaled != 0 and abs(scaled) < 10.0 ** min(0, 1 - shown.decimals)
    return f"{scaled:.3g}" if small else f"{scaled:,.{shown.decimals}f}"


def duration(seconds: float) -> str:
    """'45 s', '3:20 min', '5.0 h', '12 days'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
