"""What a report says, before it is a page, a document or a table in a paper: plain text, numbers and figures.

Nothing here is markup. Each renderer escapes every text, so a model may be called anything.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from matplotlib.figure import Figure

Kind = Literal["warning", "untrained", "few rounds", "imprecise", "suspect", "failed", "skipped", "note"]
# how a cell compares with the baseline; neutral: resolved, in a quantity that is neither good nor bad
Mark = Literal["better", "worse", "same", "inconclusive", "neutral", "baseline"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, the unit below it, and whether its cells are numbers (aligned right, sorted by value); `section` is
    the name of the section that the heading leads to."""

    heading: str
    unit: str = ""
    is_number: bool = True
    section: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """What is shown, what stands small below it (an interval), and the base-unit value it is sorted by; `mark` colours
    it, and `word` says the same before the detail."""

    text: str
    detail: str = ""
    value: float | None = None
    mark: Mark | None = None
    word: str = ""

    @property
    def below(self) -> str:
        """All that stands below the text."""
        return ", ".join(part for part in (self.word, self.detail) if part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table: as many cells as the table has columns; `model` is the one it belongs to, None for none."""

    cells: tuple[Cell, ...]
    model: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table; its first column names the row. `name` is unique within a report.

    Where nobody can filter (PDF, LaTeX, Markdown) only the first `lines_on_paper` stand, and how many more there are.
    On the page a table that is `folded` opens with a click.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Row, ...]
    note: str = ""
    lines_on_paper: int | None = None
    folded: bool = False

    def __post_init__(self) -> None:
        assert all(len(line.cells) == len(self.columns) for line in self.lines), self.name

    @property
    def on_paper(self) -> Table:
        """The table where it cannot be filtered."""
        count = self.lines_on_paper
        if count is None or len(self.lines) <= count:
            return self
        left = f"{len(self.lines) - count} more lines are in the page and in the store."
        return dataclasses.replace(self, lines=self.lines[:count], note=f"{self.note} {left}".lstrip())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure with its caption: what it shows, and how that was measured. `name` is unique within a report."""

    name: str
    figure: Figure
    title: str
    shows: str
    measured: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Formula:
    """A quantity and what it equals, in Unicode."""

    quantity: str
    equals: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """What the numbers of a section mean: in words, as formulas, whose idea it was, and the page with the rest."""

    text: str
    formulas: tuple[Formula, ...]
    source: str
    page: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caveat:
    """A caveat: its kind and one sentence."""

    kind: Kind
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """One analysis. `lead` is its result in a sentence, which the summary repeats; `headline` is a table that stands in
    the summary itself. A section that `leads` stands before the summary."""

    name: str
    heading: str
    lead: str
    conditions: str = ""
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    definition: Definition | None = None
    caveats: tuple[Caveat, ...] = ()
    headline: Table | None = None
    leads: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """A model that can be switched on and off, with its colour in all figures."""

    model: str
    label: str
    colour: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report. `headline` holds the ratios with intervals, where there are any; `facts` are (name, text)."""

    title: str
    lead: str
    headline: Table | None
    facts: tuple[tuple[str, str], ...]
    caveats: tuple[Caveat, ...]
    subjects: tuple[LegendEntry, ...]
    sections: tuple[Section, ...]
    rows: int
    version: str

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table in the order of the page: of leading sections, the headline, the others."""
        first = [table for section in self.leading for table in section.tables]
        rest = [table for section in self.rest for table in section.tables]
        return (*first, *([] if self.headline is None else [self.headline]), *rest)

    @property
    def leading(self) -> tuple[Section, ...]:
        """Sections before the summary."""
        return tuple(section for section in self.sections if section.leads)

    @property
    def rest(self) -> tuple[Section, ...]:
        """Sections after the summary."""
        return tuple(section for section in self.sections if not section.leads)
