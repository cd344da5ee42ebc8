"""Texts that the table holds and that others parse, and numbers as people read them.

`resolution` is '224' for a square of 224 px and '32x64' for a height of 32 and a width of 64; `weights` is
`random:<seed>` or a checkpoint's label. The last functions show base units to people: the table says 8.5e8 MAC, a
reader sees 0.85 GMACs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import pandas as pd

from stmbench.analyses.registry import metric as registered
from stmbench.errors import TableError

_TEXT: Final = re.compile(r"[0-9]+(x[0-9]+)?")
_RANDOM: Final = "random:"
# a run of `stmbench train`: its name, the seed, and the file's key if a file holds several sets of weights
_TRAINED: Final = re.compile(r"(?P<source>.+)\.s(?P<seed>\d+)(?P<key>[#+][^:]*)?:[^:]*")
FEWEST_ROUNDS: Final = 10  # fewer support no interval, ratio or rank
UNFIT: Final = "not fit to publish"  # the beginning of such a warning


def size_text(height: int, width: int) -> str:
    """'224', or '32x64' if the height is not the width."""
    return f"{height}" if height == width else f"{height}x{width}"


def square_side(text: str) -> int | None:
    """The side of a square, in pixels; None for any other rectangle."""
    return int(text) if text.isdigit() else None


def resolution_text(value: object) -> object:
    """The column's text for a size given as a number, as text or as (height, width); anything else is returned as is.

    Raises TableError for text that is no size.
    """
    if isinstance(value, str) and not _TEXT.fullmatch(value):
        raise TableError("resolution as 224 or 32x64", repr(value), "write height x width in pixels")
    if isinstance(value, tuple) and len(value) == 2:
        return size_text(*value)
    is_number = hasattr(value, "__index__") and not isinstance(value, bool)
    return str(value) if is_number else value


def random_label(seed: int) -> str:
    """The label of untrained weights, initialised with `seed`."""
    return f"{_RANDOM}{seed}"


def is_random(weights: object) -> bool:
    """Whether a cell of `weights` names untrained weights; False for an empty one."""
    return str(weights).startswith(_RANDOM)


def are_random(weights: pd.Series) -> pd.Series:
    """`is_random` of each cell of the column."""
    return weights.map(is_random).astype(bool)


def recipe_and_seed(weights: object) -> tuple[str, str]:
    """Split a label into what runs with different seeds share, and the seed; ('', '') for an empty cell.

    `digits.e12.s0:1a2b` gives ('digits.e12', '0'), `random:1` gives ('random:', '1'); other labels have no seed.
    """
    label = "" if pd.isna(weights) else str(weights)  # type: ignore[call-overload]
    if is_random(label):
        return _RANDOM, label.removeprefix(_RANDOM)
    match = _TRAINED.fullmatch(label)
    return (match["source"] + (match["key"] or ""), match["seed"]) if match else (label, "")


def weights_text(weights: object) -> str:
    """For people: 'random init', or the checkpoint's label."""
    return "random init" if is_random(weights) else str(weights)


def unfit_warnings(warnings: Iterable[str]) -> list[str]:
    """The warnings that a report puts above its summary, without duplicates."""
    return [text for text in dict.fromkeys(warnings) if text.startswith(UNFIT)]


def few_rounds(count: int) -> str:
    """The reason given for a missing interval."""
    rounds = "1 round" if count == 1 else f"{count} rounds"
    return f"{rounds}, fewer than {FEWEST_ROUNDS}: no interval, ratio or rank"


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
