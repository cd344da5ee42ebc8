"""What a section leaves out: summary values that stand in none of its tables and at none of its marks."""

from __future__ import annotations

import dataclasses
from typing import Final

import pandas as pd

from stmbench.figures.display_units import number
from stmbench.figures.svg_annotations import marks_in
from stmbench.reporting.content import Section
from stmbench.reporting.generic_section import MOST, values_table

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
