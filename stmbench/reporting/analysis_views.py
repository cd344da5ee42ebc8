"""Every analysis's terminal table, figures and report section, for whoever shows a store with several of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import RenderableType

from stmbench.analyses.registry import AnalysisSpec, View, spec_of, specs
from stmbench.errors import TableError
from stmbench.reporting.content import Section
from stmbench.reporting.cross_analysis import together_section
from stmbench.reporting.generic_section import generic_section, with_the_rest


def tables(frame: pd.DataFrame, folder: Path = Path()) -> Iterator[tuple[str, RenderableType]]:
    """(value of the column `analysis`, table) of each analysis that the frame has results of."""
    for spec, name in _written():
        tabulate = spec.view("terminal")
        if tabulate is None:
            continue
        try:
            yield name, tabulate(View(rows=_rows_of(frame, (name,)), whole=frame, folder=folder))
        except TableError:
            continue  # only failures, or nothing at all


def figures(frame: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Name -> figure, of every analysis in the frame. `folder` is the store's, where maps are."""
    found: dict[str, Figure] = {}
    for spec in specs():
        draw, rows = spec.view("figures"), _rows_of(frame, spec.writes)
        usable = rows[(rows["status"] != "failed") & rows["value"].notna()]
        usable.attrs = frame.attrs
        if draw is not None and len(usable):
            found |= draw(View(rows=usable, whole=frame, folder=folder))
    return found


def sections(frame: pd.DataFrame) -> tuple[Section, ...]:
    """A section for each analysis in the table: registered ones in their order, then the others by name; before them
    what only several can say. An analysis without a section gets a plain table."""
    present = set(frame["analysis"])
    known = [name for _, name in _written() if name in present]
    whole = together_section(frame)
    found = [] if whole is None else [whole]
    for name in [*known, *sorted(present - set(known))]:
        spec, chosen = spec_of(name), _rows_of(frame, (name,))
        write = None if spec is None else spec.view("section")
        if write is None:
            found.append(generic_section(chosen, frame, heading=None if spec is None else spec.title))
        else:
            found.append(with_the_rest(write(View(rows=chosen, whole=frame)), chosen))
    return tuple(found)


def _written() -> list[tuple[AnalysisSpec, str]]:
    return [(spec, name) for spec in specs() for name in spec.writes]


def _rows_of(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    rows = frame[frame["analysis"].isin(names)]
    rows.attrs = frame.attrs
    return rows
