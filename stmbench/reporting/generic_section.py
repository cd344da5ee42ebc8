"""The section of an analysis that has none of its own: all of its summaries in a plain table, so nothing is lost."""

from __future__ import annotations

import dataclasses
from typing import Final

import pandas as pd

from stmbench.figures.annotations import marks_in
from stmbench.figures.plot_data import labels
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Cell, Column, Row, Section, Table
from stmbench.reporting.model_table import conditions
from stmbench.tables.labels import display, number

PLACES: Final = ("weights", "dataset", "split", "device", "dtype", "resolution", "batch_size", "stage", "block", "head",
                 "position", "baseline", "condition", "level", "step", "definition")  # fmt: skip
MOST: Final = 500  # rows in the table


def generic_section(frame: pd.DataFrame, everything: pd.DataFrame, *, heading: str | None = None) -> Section:
    """A row for each summary value; columns that are the same in all rows are left to the conditions."""
    name = str(frame["analysis"].iloc[0])
    rows = frame[frame["value"].notna() & (frame["kind"] == "summary")]
    rows = frame[frame["value"].notna()] if rows.empty else rows
    stepped = rows["step"].dropna().nunique() > 1
    rows = _last_steps(rows) if stepped else rows
    models = rows["model"].nunique()
    lead = f"{len(rows)} values of {models} {'model' if models == 1 else 'models'}." if len(rows) else "No value."
    table = None if rows.empty else values_table(f"rows-{name}", rows, stepped=stepped)
    return Section(
        name=name,
        heading=heading or name.replace("_", " ").capitalize(),
        lead=lead,
        conditions=conditions(frame),
        tables=() if table is None else (table,),
        caveats=caveats(frame),
    )


def _last_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Of values taken step by step the last: a curve is no table."""
    identity = ["model", "weights", "metric", "baseline", "condition", "level", "stage", "block", "definition"]
    last = rows.sort_values("step", kind="stable").drop_duplicates(identity, keep="last").sort_index()
    last.attrs = rows.attrs
    return last


def values_table(name: str, rows: pd.DataFrame, *, title: str = "Values", stepped: bool = False) -> Table:
    """A line for each row, with the columns that tell rows apart.

    Args:
        stepped: whether rows are the last of values taken step by step, which is said.
    """
    varying = [place for place in PLACES if rows[place].nunique(dropna=False) > 1]
    places = [place for place in PLACES if place in varying or (place == "step" and stepped)]
    names = labels(rows)
    lines = []
    for row in rows.head(MOST).to_dict("records"):
        metric, unit = str(row["metric"]), str(row["unit"])
        shown = display(metric, unit)
        model = "–" if pd.isna(row["model"]) else names[str(row["model"])]
        spread = ""
        if not pd.isna(row["ci_low"]):
            spread = f"{number(row['ci_low'], metric)} to {number(row['ci_high'], metric)}"
        cells = [
            Cell(text=model),
            Cell(text=f"{shown.name}, {shown.unit}" if shown.unit else shown.name),
            *(_place(row[place]) for place in places),
            Cell(text=number(row["value"], metric), detail=spread, value=row["value"]),
            Cell(text=str(row["status"])),
        ]
        key = row["model"] if pd.isna(row["mixer"]) else row["mixer"]
        lines.append(Row(cells=tuple(cells), key=None if pd.isna(key) else str(key)))
    more = f"The first {MOST} of {len(rows)} rows; `stmbench export` gives all. " if len(rows) > MOST else ""
    steps = "Of values taken step by step the last is shown." if stepped else ""
    return Table(
        name=name,
        title=title,
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Metric", is_number=False),
            *(Column(heading=place.replace("_", " ").capitalize()) for place in places),
            Column(heading="Value"),
            Column(heading="Status", is_number=False),
        ),
        lines=tuple(lines),
        note=f"{more}{steps}".strip(),
    )


def _place(value: object) -> Cell:
    if pd.isna(value):  # type: ignore[call-overload]
        return Cell(text="–")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Cell(text=f"{value:g}", value=float(value))
    return Cell(text=str(value))


KIND: Final = ["metric", "definition", "condition"]  # rows of a kind are shown together, or are all in the table
ON_PAPER: Final = 10


def with_the_rest(section: Section, frame: pd.DataFrame) -> Section:
    """The section with one more table: every summary value of the kinds that it does not show in full."""
    rows = frame[frame["value"].notna() & (frame["kind"] == "summary")]
    said = _said(section)
    texts = [number(value, metric) for value, metric in zip(rows["value"], rows["metric"], strict=True)]
    missing = pd.Series([text not in said for text in texts], index=rows.index, dtype=bool)
    left = rows[missing.groupby([rows[name].astype(object) for name in KIND], dropna=False).transform("any")]
    if left.empty:
        return section
    shown, note = left, ""
    if len(left) > MOST:
        each = MOST // left[KIND].drop_duplicates().shape[0]
        shown = left[left.groupby(KIND, dropna=False).cumcount() < max(each, 1)]
        note = f"Of {len(left)} values the first {max(each, 1)} of each kind; `stmbench export` gives all."
    shown.attrs = frame.attrs
    table = values_table(f"{section.name}-rest", shown, title="Also measured")
    table = dataclasses.replace(table, lines_on_paper=ON_PAPER, note=note)
    return dataclasses.replace(section, tables=(*section.tables, table))


def _said(section: Section) -> set[str]:
    """Numbers in the section's tables and at the marks of its figures."""
    found: set[str] = set()
    for table in section.tables:
        found |= {cell.text.rstrip("*") for line in table.lines for cell in line.cells}
    for plot in section.plots:
        for mark in marks_in(plot.figure).values():
            found |= {word.strip("(),;:") for word in mark.text.split()}
    return found
