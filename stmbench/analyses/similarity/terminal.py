"""The results of `similarity` for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stmbench.analyses.registry import View
from stmbench.analyses.similarity.options import CKA, FIRST_TO_LAST, NAME, POOLED, RANK, UNIFORMITY
from stmbench.errors import TableError
from stmbench.figures.places import conditions_of, points_of
from stmbench.figures.plot_data import Point, labels
from stmbench.tables.labels import weights_text
from stmbench.tables.rows import number

LEGEND: Final = (
    "effective rank, uniformity and CKA with another model are those of the pooled features; CKA, first to last: of "
    "the maps after the first and the last block"
)


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    frame = view.rows
    rows = frame[(frame["analysis"] == NAME) & (frame["kind"] == "summary") & frame["value"].notna()]
    rows.attrs = frame.attrs
    control, with_control = compared_with_control(rows)
    columns = {
        "effective\nrank": (RANK, points_of(rows, RANK, POOLED)),
        "uniformity": (UNIFORMITY, points_of(rows, UNIFORMITY, POOLED)),
        f"CKA with\n{control}": (CKA, with_control),
        "CKA, first\nto last": (CKA, points_of(rows, CKA, FIRST_TO_LAST)),
    }
    columns = {heading: column for heading, column in columns.items() if column[1]}
    if not columns:
        raise TableError(f"rows of the analysis '{NAME}'", "none", "run `stmbench similarity`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", min_width=11, max_width=26, overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right")
    first: dict[str, Point] = {}
    for _, found in columns.values():
        for point in found:
            first.setdefault(point.label, point)
    for label, point in first.items():
        name = Text(label)  # not markup: a name may have brackets
        name.append(f"\n{weights_text(point.facts['weights'])}", style="dim")
        table.add_row(name, *(_cell(label, *column) for column in columns.values()))
    said = f"{conditions_of(list(first.values()), False)} · {'/'.join(dict.fromkeys(rows['definition']))}"
    return Group(table, Text(f"{said}\n{LEGEND}", style="dim"))


def compared_with_control(rows: pd.DataFrame) -> tuple[str, list[Point]]:
    """The short name of the model that most others are compared with, and their CKA with it; '' without pairs."""
    pairs = points_of(rows, CKA, POOLED)
    counts = Counter(str(point.baseline) for point in pairs)
    if not counts:
        return "", []
    control = counts.most_common(1)[0][0]
    return labels(rows)[control], [point for point in pairs if point.baseline == control]


def _cell(label: str, metric: str, found: Iterable[Point]) -> Text:
    point = next((point for point in found if point.label == label), None)
    if point is None:
        return Text("–")
    text = Text(number(point.value, metric))
    if point.errors is not None:
        text.append(f"\n{number(point.low, metric)} to {number(point.high, metric)}", style="dim")
    return text
