"""The results of `frequency` for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stmbench.analyses.frequency.figures.points import right_or_same, wrong_or_changed
from stmbench.analyses.frequency.options import (
    ACCURACY,
    ALL_MIXERS,
    AMPLITUDE,
    BLOCK,
    CHANGE,
    CLEAN,
    ERROR,
    NAME,
)
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.places import by_place, points_of
from stmbench.figures.plot_data import Point
from stmbench.reporting.interval_cell import interval_cell
from stmbench.tables.labels import weights_text

Column = Mapping[str, Point]  # by the label of a model
LEGEND: Final = (
    "mixers: change of the relative log amplitude at the highest frequency from input to output, mean over mixers; "
    "below 0 they are low-pass · last block: that amplitude of its output · low and high band: under noise of the "
    "lowest and the highest band of frequencies · heat map: under noise of one frequency, mean over frequencies"
)


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return frequency_table(view.rows)


def frequency_table(frame: pd.DataFrame) -> Group:
    """One row for each model, with 95 % intervals. Raises TableError where the table has no such rows."""
    rows = frame[(frame["analysis"] == NAME) & (frame["kind"] == "summary") & frame["value"].notna()]
    rows.attrs = frame.attrs
    columns = {heading: column for heading, column in columns_of(rows).items() if column}
    if not columns:
        raise TableError(f"rows of the analysis '{NAME}'", "none", "run `stmbench frequency`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", min_width=11, max_width=26, overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right")
    for label in dict.fromkeys(label for column in columns.values() for label in column):
        first = next(column[label] for column in columns.values() if label in column)
        name = Text(label)  # not markup: a name may have brackets
        name.append(f"\n{weights_text(first.facts['weights'])}", style="dim")
        cells = (
            interval_cell(column.get(label), factor=100 if "%" in heading else 1, digits=1 if "%" in heading else 2)
            for heading, column in columns.items()
        )
        table.add_row(name, *cells)
    return Group(table, Text(f"{_conditions(rows)}\n{LEGEND}", style="dim"))


def columns_of(rows: pd.DataFrame) -> dict[str, Column]:
    """Heading -> points by model; columns that the rows have nothing for are empty."""
    metric, bands = right_or_same(rows)
    answer = "right" if metric == ACCURACY else "same"
    levels = sorted({point.level for point in bands})
    lowest, highest = ([point for point in bands if point.level in level] for level in (levels[:1], levels[-1:]))
    shown, noisy = wrong_or_changed(rows)
    blocks = by_place(rows, AMPLITUDE, BLOCK)
    return {
        "mixers": _by_label(points_of(rows, CHANGE, ALL_MIXERS)),
        "last\nblock": {label: places[-1].point for label, places in blocks.items()},
        "clean,\nright %": _by_label(points_of(rows, metric, CLEAN)),
        f"low band,\n{answer} %": _by_label(lowest),
        f"high band,\n{answer} %": _by_label(highest),
        f"heat map,\n{'wrong' if shown == ERROR else 'changed'} %": _by_label(noisy),
    }


def _by_label(points: Iterable[Point]) -> dict[str, Point]:
    return {point.label: point for point in points}


def _conditions(rows: pd.DataFrame) -> str:
    data = "/".join(dict.fromkeys(str(name).partition(":")[0] for name in rows["dataset"].dropna()))
    images = "/".join(str(count) for count in dict.fromkeys(rows["num_images"].dropna()))
    definitions = "/".join(dict.fromkeys(rows["definition"]))
    return f"{data} · {images} images · 95 % intervals · {definitions}"
