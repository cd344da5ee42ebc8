"""A figure as an SVG file, and as an element of a page."""

from __future__ import annotations

import io
import re
import weakref
from typing import Final
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from stmbench.figures.annotations import Mark, marks_in
from stmbench.figures.palette import DARK, PARTS_ON_DARK, WHITE_ON_MARK
from stmbench.figures.style import GRID, INK, MUTED, STYLE, lay_out

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_URL: Final = re.compile(r"url\(#([^)]+)\)")
_COORDINATES: Final = ("d", "x", "y", "width", "height")
_LONG_NUMBER: Final = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
_TEXTS: Final = tuple(f"{{{SVG}}}{name}" for name in ("text", "tspan", "title", "desc"))
_DRAWN: Final[weakref.WeakKeyDictionary[Figure, tuple[bytes, dict[str, Mark]]]] = weakref.WeakKeyDictionary()
# colours that follow the page's, light or dark; the page's style sheet says what they are
VARIABLES: Final = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    "#ffffff": "ground",
    WHITE_ON_MARK: "on-mark",
    **{colour: f"c{colour[1:]}" for colour in (*DARK, *PARTS_ON_DARK)},
}
_COLOUR: Final = re.compile(rf"({'|'.join(VARIABLES)})(?![0-9a-f])", re.IGNORECASE)


def inline(figure: Figure, name: str, *, title: str, description: str) -> Markup:
    """The figure as one <svg> element: ids start with `name`, a title and a description are read out.

    Marks carry their model as data-model and what they say as a <title>. Colours become CSS variables of the page with
    the printed colour as fallback. Sizes are left to the page (viewBox stays); matplotlib's style sheet and metadata,
    which would speak for the whole page, are dropped.
    """
    data, marks = _drawn(figure)
    root = ElementTree.fromstring(data)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in list(root.iter()):
        _adopt(element, marks)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height")
    _shorten(root, name)
    root.set("style", f"--natural-width: {width * 4 / 3:.0f}px")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        identity = f"{name}-{'title' if tag == 'title' else 'description'}"
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": identity})
        element.text = text
        root.insert(position, element)
    ElementTree.register_namespace("", SVG)  # each time: others, such as a feed, take the empty prefix for theirs
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def svg_bytes(figure: Figure) -> bytes:
    """The figure as an SVG file, drawn once for all formats; the same figure gives the same bytes."""
    return _drawn(figure)[0]


def _drawn(figure: Figure) -> tuple[bytes, dict[str, Mark]]:
    if figure not in _DRAWN:
        marks, buffer = marks_in(figure), io.BytesIO()
        with matplotlib.rc_context(STYLE):
            lay_out(figure)
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        _DRAWN[figure] = buffer.getvalue(), marks
    return _DRAWN[figure]


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


def _shorten(root: ElementTree.Element, name: str) -> None:
    """Write the same drawing in a third of the letters.

    Styles become classes of a style sheet in the figure, coordinates have two decimals (of 1/72 inch), ids are short
    and only where something refers to them, and groups that say nothing are dropped.
    """
    ids = _short_ids(root, name)
    classes: dict[str, str] = {}
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in ids:
            element.set("id", ids[identity])
        for key, value in list(element.attrib.items()):
            if key in _COORDINATES:
                element.set(key, _LONG_NUMBER.sub(_rounded, value).strip())
            elif key == f"{{{XLINK}}}href":
                del element.attrib[key]
                element.set("href", f"#{ids[value[1:]]}" if value.startswith("#") else value)
        rules = [_COLOUR.sub(_variable, element.attrib.pop("style", ""))]
        if "clip-path" in element.attrib:
            rules.append(f"clip-path: {element.attrib.pop('clip-path')}")
        if text := "; ".join(filter(None, rules)):
            text = _URL.sub(lambda match: f"url(#{ids[match[1]]})", text)
            chosen = classes.setdefault(text, f"{name}-{len(classes)}")
            element.set("class", f"{element.attrib['class']} {chosen}" if "class" in element.attrib else chosen)
        if element.tag not in _TEXTS:
            element.text = None
        element.tail = None
    _flatten(root)
    sheet = ElementTree.Element(f"{{{SVG}}}style")
    # the class twice: it outweighs the page's rules for all that is in a figure, as a style of its own did
    sheet.text = "".join(f".{chosen}.{chosen}{{{text}}}" for text, chosen in classes.items())
    root.insert(0, sheet)


def _short_ids(root: ElementTree.Element, name: str) -> dict[str, str]:
    """Old id -> new one, of all that something in the figure refers to."""
    used: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            referred = [value[1:]] if key == f"{{{XLINK}}}href" and value.startswith("#") else _URL.findall(value)
            for identity in referred:
                used.setdefault(identity, f"{name}-i{len(used)}")
    return used


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _flatten(parent: ElementTree.Element) -> None:
    """Put what is in groups without attributes in their place; drop what is empty then."""
    children = []
    for child in parent:
        _flatten(child)
        if child.tag not in (f"{{{SVG}}}g", f"{{{SVG}}}defs") or (child.attrib and len(child)):
            children.append(child)
        elif child.tag == f"{{{SVG}}}defs":
            children += [child] if len(child) else []
        elif not child.attrib:
            children += list(child)
    parent[:] = children
