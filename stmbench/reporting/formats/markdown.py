"""A report's summary and tables as Markdown, for a pull request or a README."""

from __future__ import annotations

from collections.abc import Iterable

from stmbench.reporting.content import Caveat, Cell, Report, Table
from stmbench.reporting.formats.html import KINDS
from stmbench.reporting.formats.markdown_text import escaped


def markdown(report: Report) -> str:
    """Title, findings, caveats and every table (GitHub's dialect)."""
    lines = [f"# {escaped(report.title)}", "", escaped(report.lead), ""]
    lines += [f"* **{escaped(section.heading)}**: {escaped(section.lead)}" for section in report.sections]
    lines += ["", *_caveats(report.caveats)]
    if report.headline is not None:
        lines += _table(report.headline)
    for section in report.sections:
        lines += [f"## {escaped(section.heading)}", ""]
        lines += [escaped(section.conditions), ""] if section.conditions else []
        lines += _caveats(section.caveats)
        for table in section.tables:
            lines += _table(table)
    return "\n".join([*lines, f"Written by stmbench {report.version} from {report.rows:,} rows.", ""])


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
    return f"{escaped(cell.text)}<br><sub>{escaped(cell.detail)}</sub>" if cell.detail else escaped(cell.text)
