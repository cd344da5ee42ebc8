"""A report as one HTML page that asks nothing of any network."""

from __future__ import annotations

import colorsys
from typing import Any, Final

import jinja2

from stmbench.figures.palette import COLOURS
from stmbench.reporting.content import Report
from stmbench.reporting.formats.svg import inline

LIGHTEST: Final = 0.46  # lightness below which a colour is lifted on a dark ground
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

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("stmbench.reporting"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def html(report: Report) -> str:
    """The page as text. Every text of the report is escaped."""
    figures: dict[tuple[str, str], Any] = {}
    for section in report.sections:
        for plot in section.plots:
            name = f"figure-{len(figures) + 1}"
            figures[section.name, plot.name] = (
                name,
                inline(plot.figure, name, title=plot.title, description=plot.shows),
            )
    numbers = {table.name: number for number, table in enumerate(report.tables, 1)}
    return _TEMPLATES.get_template("report.html.j2").render(
        report=report, figures=figures, numbers=numbers, kinds=KINDS, dark=dark_colours()
    )


def dark_colours() -> list[tuple[str, str]]:
    """The palette's colours, (name, the colour on a dark ground): the same hue, light enough to be seen."""
    found = []
    for colour in COLOURS:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
        lifted = colorsys.hls_to_rgb(hue, max(LIGHTEST + 0.25 * lightness, lightness), saturation)
        found.append((colour[1:].lower(), "#" + "".join(f"{round(255 * part):02x}" for part in lifted)))
    return found
