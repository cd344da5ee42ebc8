"""A report as a PDF, set by typst with vector figures. The same report gives the same bytes."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, Final

import matplotlib

from stmbench.errors import MissingPackageError, OutputError
from stmbench.reporting.content import Caveat, Cell, Plot, Report, Table
from stmbench.reporting.formats.html import KINDS
from stmbench.reporting.formats.svg import svg_bytes

FONTS: Final = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # the figures' font comes with matplotlib
CM_PER_INCH: Final = 2.54
# where a long name may break: after a separator, and anywhere in what has none
_SEPARATOR: Final = re.compile(r"(?<=[_./:,=\[\]-])(?=\w)")
_RUN: Final = re.compile(r"(\w{24})(?=\w)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
BREAK: Final = "\u200b"


def pdf(report: Report) -> bytes:
    """The document.

    Texts travel as JSON and are set as they are, so that no name can be markup.

    Raises:
        MissingPackageError: typst is not installed. OutputError: typst refuses the document.
    """
    try:
        import typst
    except ImportError as error:
        raise MissingPackageError("typst", "PDF", "report", "--format html") from error
    template = resources.files("stmbench.reporting") / "templates" / "report.typ"
    with tempfile.TemporaryDirectory(prefix="stmbench-") as name:
        folder = Path(name)
        (folder / "main.typ").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(_content(report, folder)), encoding="utf-8")
        try:
            document = typst.compile(
                folder / "main.typ", root=folder, font_paths=[FONTS], ignore_system_fonts=True, format="pdf"
            )
        except typst.TypstError as error:
            said = " ".join(str(error).split())[:300]
            raise OutputError("a document that typst can set", said, "report this, and use --format html") from error
    return bytes(document)


def _content(report: Report, folder: Path) -> dict[str, Any]:
    """What the template reads; figures are written beside it."""
    sections = []
    for number, section in enumerate((*report.leading, *report.rest), 1):
        definition = None if section.definition is None else dataclasses.asdict(section.definition)
        if section.definition is not None and definition is not None:
            definition["formulas"] = [[one.quantity, one.equals] for one in section.definition.formulas]
        sections.append(
            {
                "heading": section.heading,
                "lead": section.lead,
                "leads": section.leads,
                "conditions": section.conditions,
                "caveats": _caveats(section.caveats),
                "plots": [_plot(plot, folder / f"{number}-{i}.svg") for i, plot in enumerate(section.plots, 1)],
                "tables": [_table(table) for table in section.tables],
                "definition": definition,
            }
        )
    content = {
        "title": report.title,
        "lead": report.lead,
        "findings": [{"heading": section.heading, "lead": section.lead} for section in report.rest],
        "headline": None if report.headline is None else _table(report.headline),
        "facts": [[name, text] for name, text in report.facts],
        "caveats": _caveats(report.caveats),
        "sections": sections,
        "rows": f"{report.rows:,}",
        "version": report.version,
    }
    return {name: _breakable(value) for name, value in content.items()}


def _plot(plot: Plot, path: Path) -> dict[str, Any]:
    path.write_bytes(svg_bytes(plot.figure))
    width, height = (float(side) * CM_PER_INCH for side in plot.figure.get_size_inches())
    said = {"title": plot.title, "shows": plot.shows, "measured": plot.measured}
    return {"file": path.name, "width": width, "height": height, **said}


def _table(whole: Table) -> dict[str, Any]:
    table = whole.on_paper
    return {
        "title": table.title,
        "note": table.note,
        "columns": [{"heading": c.heading, "unit": c.unit, "number": c.is_number} for c in table.columns],
        "lines": [[_cell(cell) for cell in line.cells] for line in table.lines],
    }


def _cell(cell: Cell) -> dict[str, str]:
    return {"text": cell.text, "word": cell.word, "detail": cell.detail, "mark": cell.mark or ""}


def _caveats(caveats: tuple[Caveat, ...]) -> list[dict[str, str]]:
    return [{"kind": KINDS[caveat.kind], "text": caveat.text} for caveat in caveats]


def _breakable(value: Any) -> Any:
    """The same content with places to break in long words, and without control characters."""
    if isinstance(value, str):
        plain = _CONTROL.sub("\ufffd", value)
        return " ".join(_word(word) for word in plain.split(" "))
    if isinstance(value, dict):
        return {name: text if name == "file" else _breakable(text) for name, text in value.items()}
    return [_breakable(one) for one in value] if isinstance(value, list) else value


def _word(word: str) -> str:
    return word if len(word) < 16 else _RUN.sub(rf"\1{BREAK}", _SEPARATOR.sub(BREAK, word))
