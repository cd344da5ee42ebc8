"""A report as one HTML page that asks nothing of any network."""

from __future__ import annotations

import base64
import zlib
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


LARGE: Final = 2**21  # letters of a page, above which its content is packed
UNPACK: Final = """
const bytes = Uint8Array.from(atob(PACKED), (letter) => letter.charCodeAt(0));
const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
document.querySelector("main").innerHTML = await new Response(stream).text();
document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
"""
NO_SCRIPTS: Final = "This report is large, so its content is packed, which needs scripts. The PDF needs none."


def packed(page: str) -> str:
    """The page with its content compressed, a fifth as large; it unpacks itself when it is opened."""
    head, _, rest = page.partition("<main>")
    content, _, tail = rest.rpartition("</main>")
    between, _, script = tail.partition("<script>")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = base64.b64encode(deflate.compress(content.encode()) + deflate.flush()).decode()
    main = f"<main><noscript><p>{NO_SCRIPTS}</p></noscript></main>"
    return f'{head}{main}{between}<script type="module">\nconst PACKED = "{data}";{UNPACK}{script}'


def html(report: Report, *, live: str | None = None) -> str:
    """The page as text. Every text of the report is escaped. The content of a large page is packed.

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
    page = TEMPLATES.get_template("report.html.j2").render(
        report=report,
        figures=figures,
        numbers=numbers,
        targets=targets,
        kinds=KINDS,
        dark=DARK | PARTS_ON_DARK,
        on_mark=BLACK,
        live=live,
    )
    return packed(page) if live is None and len(page) > LARGE else page
