"""A report's summary and tables as Markdown, for a pull request or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from stmbench.errors import printable
from stmbench.reporting.content import Caveat, Cell, Report, Section, Table
from stmbench.reporting.formats.html import KINDS

# entities rather than backslashes: inside a table's cell a backslash does not keep a backtick from opening code
_ENTITIES: Final = {ord(letter): f"&#{ord(letter)};" for letter in "\\`*[]<>#!|~&$"}
_EMPHASIS: Final = re.compile(r"(?<!\w)_|_(?!\w)")  # an underscore between letters is a letter
_MENTION: Final = re.compile(r"(?<!\w)@(?=\w)")
_START: Final = re.compile(r"^([-+=]|\d{1,9}(?=[.)](\s|$)))(?!\d)")  # of a list or a rule; not of a negative number


def escaped(text: str) -> str:
    """`text` for a paragraph or a cell: one line, no markup, and nobody is mentioned."""
    # one space between words and none around them, as emphasis does not close after a space
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in printable(text)).split())
    said = _EMPHASIS.sub("&#95;", plain.translate(_ENTITIES))
    said = _MENTION.sub("@<!-- -->", said)
    return _START.sub(lambda match: f"&#{ord(match[1][0])};{match[1][1:]}", said)


def markdown(report: Report) -> str:
    """Title, findings, caveats and every table (GitHub's dialect)."""
    lines = [f"# {escaped(report.title)}", "", escaped(report.lead), ""]
    for section in report.leading:
        lines += _section(section)
    lines += [f"* **{escaped(section.heading)}**: {escaped(section.lead)}" for section in report.rest]
    lines += ["", *_caveats(report.caveats)]
    if report.headline is not None:
        lines += _table(report.headline)
    for section in report.rest:
        lines += _section(section)
    return "\n".join([*lines, f"Written by stmbench {report.version} from {report.rows:,} rows.", ""])


def _section(section: Section) -> list[str]:
    lines = [f"## {escaped(section.heading)}", ""]
    lines += [escaped(section.lead), ""] if section.leads else []
    lines += [escaped(section.conditions), ""] if section.conditions else []
    lines += _caveats(section.caveats)
    for table in section.tables:
        lines += _table(table)
    return lines


def _caveats(caveats: tuple[Caveat, ...]) -> list[str]:
    listed = [f"> * **{KINDS[caveat.kind]}.** {escaped(caveat.text)}" for caveat in caveats]
    return [*listed, ""] if listed else []


def _table(whole: Table) -> list[str]:
    table = whole.on_paper
    heads = [escaped(f"{one.heading} ({one.unit})" if one.unit else one.heading) for one in table.columns]
    rules = ["---:" if column.is_number else "---" for column in table.columns]
    rows = [_line(_cell(cell) for cell in line.cells) for line in table.lines]
    note = [escaped(table.note), ""] if table.note else []
    return [f"**{escaped(table.title)}**", "", _line(heads), _line(rules), *rows, "", *note]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    return f"{escaped(cell.text)}<br><sub>{escaped(cell.below)}</sub>" if cell.below else escaped(cell.text)
