"""A report as one HTML page that asks nothing of any network."""

from __future__ import annotations

import io
import re
from typing import Any, Final
from xml.etree import ElementTree

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from stmbench.figures.annotations import Mark, marks_in
from stmbench.figures.palette import BLACK, DARK, PARTS_ON_DARK, WHITE_ON_MARK
from stmbench.figures.style import GRID, INK, MUTED, STYLE
from stmbench.reporting.content import Report

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_URL = re.compile(r"url\(#([^)]+)\)")
# colours that follow the page's, light or dark; the page's style sheet says what they are
VARIABLES: Final = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    "#ffffff": "ground",
    WHITE_ON_MARK: "on-mark",
    **{colour: f"c{colour[1:]}" for colour in (*DARK, *PARTS_ON_DARK)},
}
_COLOUR = re.compile(rf"({'|'.join(VARIABLES)})(?![0-9a-f])", re.IGNORECASE)


def inline(figure: Figure, name: str, *, title: str, description: str) -> Markup:
    """The figure as one <svg> element: ids start with `name`, a title and a description are read out.

    Marks carry their model as data-model and what they say as a <title>. Colours become CSS variables of the page with
    the printed colour as fallback. Sizes are left to the page (viewBox stays); matplotlib's style sheet and metadata,
    which would speak for the whole page, are dropped.
    """
    marks = marks_in(figure)
    root = ElementTree.fromstring(svg_bytes(figure))
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in list(root.iter()):
        _adopt(element, marks)
        _prefix(element, name)
        if "style" in element.attrib:
            element.set("style", _COLOUR.sub(_variable, element.attrib["style"]))
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    root.set("style", f"--natural-width: {width * 4 / 3:.0f}px")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        identity = f"{name}-{'title' if tag == 'title' else 'description'}"
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": identity})
        element.text = text
        root.insert(position, element)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def svg_bytes(figure: Figure) -> bytes:
    """The figure as an SVG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return buffer.getvalue()


def _adopt(element: ElementTree.Element, marks: dict[str, Mark]) -> None:
    """A mark's id becomes its model and its words: ids are the page's, a model has many marks."""
    found = marks.get(element.attrib.get("id", ""))
    if found is None:
        return
    del element.attrib["id"]
    element.set("data-model", found.model)
    if found.text:
        element.set("class", "says")
        title = ElementTree.Element(f"{{{SVG}}}title")
        title.text = found.text
        element.insert(0, title)


def _variable(match: re.Match[str]) -> str:
    colour = match[0].lower()
    return f"var(--figure-{VARIABLES[colour]}, {colour})"


def _prefix(element: ElementTree.Element, name: str) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key in ("href", f"{{{XLINK}}}href") and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, _URL.sub(rf"url(#{name}-\1)", value))


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
