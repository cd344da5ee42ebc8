"""Measured beside published: for a terminal, and as a section of a report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import pandas as pd
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from stmbench.errors import TableError
from stmbench.reporting.content import Cell, Column, Row, Section, Table
from stmbench.tables.labels import display, is_random, number
from stmbench.tables.published import published
from stmbench.tables.published_comparison import compare_with_table3

HEADINGS: Final = ("Model", "Quantity", "Measured", "Published", "Difference")


def beside_table(frame: pd.DataFrame) -> RichTable:
    """The rows of `compare_with_published` for a terminal; what was not measured has a dash."""
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading.lower(), justify="left" if place < 2 else "right", overflow="fold")
    for cells, _ in _rows(frame):
        table.add_row(*(Text(cell.text) for cell in cells))
    return table


def beside_section(frame: pd.DataFrame, mixers: dict[str, str | None]) -> Section:
    """The section of a report.

    Args:
        mixers: model -> mixer, for the colours and switches of the page.
    """
    measured = int(frame["measured"].notna().sum())
    sources = [published(name).attrs["source"] for name in dict.fromkeys(frame["table"])]
    lines = [Row(cells=cells, key=mixers.get(model) or model) for cells, model in _rows(frame)]
    table = Table(
        name="beside-published",
        title="Measured and published",
        columns=tuple(Column(heading=heading, is_number=place > 1) for place, heading in enumerate(HEADINGS)),
        lines=tuple(lines),
        note=f"Published: {'; '.join(sources)}. Differences of accuracies are in percentage points, all others "
        "relative; of several seeds the mean is taken. Speeds on other machines are shown for their "
        "order only.",
    )
    return Section(
        name="published",
        heading="Comparison with published figures",
        lead=f"{measured} of {len(frame)} published values have a measured counterpart.",
        tables=(table,),
    )


def _rows(frame: pd.DataFrame) -> Iterator[tuple[tuple[Cell, ...], str]]:
    """(cells, model) of each row."""
    for row in frame.to_dict("records"):
        metric = str(row["metric"])
        shown = display(metric, "" if pd.isna(row["unit"]) else str(row["unit"]))
        quantity = f"{shown.name}, {shown.unit}" if shown.unit else shown.name
        untrained = is_random(row["weights"]) and metric.startswith("accuracy")
        measured = None if pd.isna(row["measured"]) else float(row["measured"])
        yield (
            (
                Cell(text=str(row["label"])),
                Cell(text=quantity, detail=str(row["column"])),
                Cell(text=number(measured, metric), detail=_detail(row, metric, untrained), value=measured),
                Cell(text=number(row["published"], metric), value=row["published"]),
                _difference(row, untrained),
            ),
            str(row["model"]),
        )


def _detail(row: dict[Any, Any], metric: str, untrained: bool) -> str:
    words = ["random init"] if untrained else []
    if not pd.isna(row["runs"]) and row["runs"] > 1 and row["deviation"] > 0:  # a cost is the same for every seed
        words.append(f"{row['runs']:.0f} seeds, SD {number(row['deviation'], metric)}")
    return ", ".join(words)


def _difference(row: dict[Any, Any], untrained: bool) -> Cell:
    value = float(row["difference"])
    if math.isnan(value) or untrained:  # an untrained model's accuracy is not a reproduction of anything
        return Cell(text="–")
    text = f"{value:+.1f} points" if row["difference_kind"] == "points" else f"{100 * value:+.2f} %"
    return Cell(text=text, value=value)


def published_table(frame: pd.DataFrame) -> Table | None:
    """Parameters and MACs of Table III of Hu et al. alongside ours; None where no model of the table was measured."""
    try:
        table = published("stm_table3_imagenet")
        joined = compare_with_table3(frame, table)
    except TableError:
        return None
    mixers = frame.attrs.get("mixers", {})
    lines = []
    for row in joined.to_dict("records"):
        mixer, metric = str(row["mixer"]), str(row["metric"])
        shown = display(metric)
        name = mixers.get(mixer, {}).get("abbreviation", mixer)
        cells = (
            Cell(text=f"{name} {row['scale']}"),
            Cell(text=f"{shown.name}, {shown.unit}"),
            Cell(text=number(row["measured"], metric), value=row["measured"]),
            Cell(text=number(row["published"], metric), value=row["published"]),
            Cell(text=f"{100 * row['difference']:+.2f}", value=row["difference"]),
        )
        lines.append(Row(cells=cells, key=mixer))
    return Table(
        name="published",
        title="Counted here and published",
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Quantity", is_number=False),
            Column(heading="Here"),
            Column(heading="Published"),
            Column(heading="Difference", unit="%"),
        ),
        lines=tuple(lines),
        note=f"Published: {table.attrs['source']}. Its rows use three conventions of counting MACs; the column 'here' "
        "follows the one of each row, and so differs from the MACs above. See docs/counting.md.",
    )
