"""From points to a table of models: one row for each label, one column for each metric and place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from stmbench.errors import TableError
from stmbench.figures.display_units import display, number
from stmbench.figures.plot_data import Point, points
from stmbench.reporting.content import Cell, Column, Line, Table
from stmbench.tables.labels import weights_text


class Measured(NamedTuple):
    """One column: its heading and unit, the metric its numbers are shown as, and its points."""

    column: Column
    metric: str
    points: Sequence[Point]


def measured(frame: pd.DataFrame, metric: str, heading: str = "", unit: str | None = None) -> Measured:
    """The column of a metric's summaries; without points where the table has none of it."""
    shown = display(metric)
    column = Column(heading=heading or _capital(shown.name), unit=shown.unit if unit is None else unit)
    return Measured(column, metric, points_of(frame, metric))


def points_of(frame: pd.DataFrame, metric: str) -> list[Point]:
    """`points`, or none where the table has none: a report shows what there is."""
    try:
        return points(frame, metric)
    except TableError:
        return []


def by_model(name: str, title: str, columns: Sequence[Measured], *, note: str = "") -> Table | None:
    """A row for each label, in the order of the columns' points; None where no column has a point."""
    filled = [column for column in columns if column.points]
    first: dict[str, Point] = {}
    for column in filled:
        for point in column.points:
            first.setdefault(point.label, point)
    if not first:
        return None
    cells = [{point.label: cell(point, column.metric) for point in column.points} for column in filled]
    dash = Cell(text="–")
    lines = [
        Line(
            cells=(Cell(text=label, detail=weights(point)), *(of_column.get(label, dash) for of_column in cells)),
            key=point.key,
        )
        for label, point in first.items()
    ]
    heads = (Column(heading="Model", is_number=False), *(column.column for column in filled))
    return Table(name=name, title=title, columns=heads, lines=tuple(lines), note=note)


def cell(point: Point, metric: str) -> Cell:
    """A value with its interval below it; an asterisk where it is imprecise, inconclusive or breaks a check."""
    detail = ""
    if point.errors is not None:
        detail = f"{number(point.low, metric)} to {number(point.high, metric)}"
    elif point.rounds is not None:
        return Cell(text=number(point.value, metric), detail=point.rounds, value=point.value)
    return Cell(text=number(point.value, metric) + ("" if point.resolved else "*"), detail=detail, value=point.value)


def weights(point: Point) -> str:
    """'random init', or where the weights are from."""
    return weights_text(point.facts["weights"] or "")


def conditions(frame: pd.DataFrame) -> str:
    """What all rows with a value share: 'photos · test · 56 images · 224 px · fp32 · cpu'."""
    rows, words = frame[frame["value"].notna()], []
    for column, text in (("dataset", "{}"), ("split", "{}"), ("num_images", "{} images"), ("resolution", "{} px"),
                         ("dtype", "{}"), ("device", "{}")):  # fmt: skip
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            said = text.format(str(values[0]).partition(":")[0] if column == "dataset" else values[0])
            words.append("1 image" if said == "1 images" else said)
    return " · ".join(words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
