"""A figure in a page: the same drawing in fewer letters, drawn once for all formats."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure

from stmbench.figures.annotations import mark
from stmbench.figures.style import STYLE, canvas
from stmbench.reporting.formats.svg import SVG, inline, svg_bytes


@pytest.fixture
def figure() -> Figure:
    with canvas(3.0) as (made, axes):
        for model in ("a", "b"):
            mark(axes[0].plot([0.123456789, 2 / 3], [1 / 3, 0.9], marker="o"), model, f"{model}: 1")
        axes[0].set_title("  two  words ")
    return made


def test_styles_are_classes_and_numbers_short(figure: Figure) -> None:
    text = str(inline(figure, "figure-1", title="T", description="D"))
    root = ElementTree.fromstring(text)
    styled = [element for element in root.iter() if "style" in element.attrib]
    assert styled == [root], "the width that the page reads"
    sheet = root.find(f"{{{SVG}}}style")
    assert sheet is not None
    rules = dict(re.findall(r"\.([\w-]+)\.\1\{(.*?)\}", sheet.text or ""))
    used = {name for element in root.iter() for name in element.get("class", "").split()} - {"says"}
    assert used == set(rules)
    assert any("var(--figure-ink, #1b1b1b)" in rule for rule in rules.values())
    assert not re.search(r"\.\d{3}", " ".join(element.get("d", "") for element in root.iter()))
    assert "  two  words " in [element.text for element in root.iter(f"{{{SVG}}}text")]
    assert len(text) < 0.8 * len(svg_bytes(figure))


def test_every_reference_has_its_target_and_every_id_its_use(figure: Figure) -> None:
    text = str(inline(figure, "figure-1", title="T", description="D"))
    ids = re.findall(r' id="([^"]*)"', text)
    referred = set(re.findall(r'href="#([^"]*)"', text)) | set(re.findall(r"url\(#([^)]*)\)", text))
    assert len(ids) == len(set(ids))
    assert set(ids) == referred | {"figure-1-title", "figure-1-description"}
    assert re.findall(r'data-model="(.)"', text) == ["a", "b"]


def test_groups_without_a_word_are_dropped(figure: Figure) -> None:
    root = ElementTree.fromstring(str(inline(figure, "f", title="T", description="D")))
    groups = list(root.iter(f"{{{SVG}}}g"))
    assert groups
    assert all(group.attrib and len(group) for group in groups)


def test_a_figure_is_drawn_once(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    before = str(inline(figure, "f", title="T", description="D"))
    monkeypatch.setattr(Figure, "savefig", None)
    assert str(inline(figure, "f", title="T", description="D")) == before
    assert svg_bytes(figure).startswith(b"<?xml")


def test_it_is_laid_out_as_matplotlib_would_with_every_artist_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> tuple[Figure, list[int]]:
        with canvas(3.0) as (made, axes):
            (line,) = axes[0].plot([1, 2], [1, 3])
            axes[0].set_ylabel("what is wide\nand has lines")
            made.suptitle("a title above")
        times: list[int] = []
        monkeypatch.setattr(line, "draw", lambda renderer, draw=line.draw: (times.append(1), draw(renderer)))
        return made, times

    (theirs, twice), (ours, once) = drawn(), drawn()
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        theirs.savefig(buffer, format="svg", metadata={"Date": None})
    assert svg_bytes(ours) == buffer.getvalue()
    assert (len(once), len(twice)) == (1, 2)


def test_another_use_of_the_empty_prefix_changes_nothing() -> None:
    """The dashboard's feed takes it for its own names, in the same process."""
    figure = Figure()
    figure.text(0.5, 0.5, "words")
    before = str(inline(figure, "f", title="T", description="D"))
    ElementTree.register_namespace("", "http://www.w3.org/2005/Atom")
    after = str(inline(figure, "f", title="T", description="D"))
    assert after == before
    assert after.startswith("<svg ")
    assert "<text " in after
