"""A report as one HTML page that asks nothing of any network."""

from __future__ import annotations

from typing import Any, Final

import jinja2

from stmbench.figures.palette import BLACK, DARK, PARTS_ON_DARK
from stmbench.reporting.content import Report
from stmbench.reporting.formats.svg import inline

KINDS: Final = {
    "warning": "Warning",
    "untrained": "Untrained",
    "few rounds": "Few rounds",
    "imprecise": "Wide interval",
    "suspect": "Suspect",
    "failed": "Failed",
    "skipped": "Skipped",
    "note": "Note",
}

TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("stmbench.reporting"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def html(report: Report, *, live: str | None = None) -> str:
    """The page as text. Every text of the report is escaped.

    Args:
        live: the version of the store it shows, for a page that asks its server for newer ones.
    """
    figures: dict[tuple[str, str], Any] = {}
    for section in report.sections:
        for plot in section.plots:
            name = f"figure-{len(figures) + 1}"
            figures[section.name, plot.name] = (
                name,
                inline(plot.figure, name, title=plot.title, description=plot.shows),
            )
    numbers = {table.name: number for number, table in enumerate(report.tables, 1)}
    targets = {section.name: f"section-{number}" for number, section in enumerate(report.sections, 1)}
    return TEMPLATES.get_template("report.html.j2").render(
        report=report,
        figures=figures,
        numbers=numbers,
        targets=targets,
        kinds=KINDS,
        dark=DARK | PARTS_ON_DARK,
        on_mark=BLACK,
        live=live,
    )
