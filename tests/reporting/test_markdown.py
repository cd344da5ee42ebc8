"""Markdown for a pull request: nothing that a user named is markup, as a parser of CommonMark and tables sees it."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from stmbench.reporting import build_report
from stmbench.reporting.formats.markdown import escaped, markdown
from tests.reporting.evil import NAMES, evil_report
from tests.tables.frames import profile_frame


def _kinds(text: str) -> list[str]:
    """Every token of the document, without the words."""
    found: list[str] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        found.append(token.type)
        found += [child.type for child in token.children or ()]
        found += [child.content for child in token.children or () if child.type == "html_inline"]
    # a comment keeps a name from being a mention
    ours = ("text", "text_special", "inline", "softbreak", "html_inline", "<!-- -->")
    return [kind for kind in found if kind not in ours]


@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_inject_markup(name: str) -> None:
    assert _kinds(markdown(evil_report(name))) == _kinds(markdown(evil_report("plain")))


@pytest.mark.parametrize("text", [*NAMES[:5], "- a", "1. b", "+ c", "=", "---", "# d", "> e", "3.1", "-0.5"])
def test_rendered_line_equals_its_source_text(text: str) -> None:
    (_, inline, _) = MarkdownIt("commonmark").parse(escaped(text))
    shown = "".join(child.content for child in inline.children or () if child.type != "html_inline")
    assert shown == " ".join(text.split())


def test_numbers_become_no_lists_and_names_no_mentions() -> None:
    assert escaped("3.942") == "3.942"
    assert escaped("-0.5") == "-0.5"
    assert escaped("ERF@50") == "ERF@50"
    assert "@a" not in escaped("by @a")


def test_tables_render() -> None:
    text = markdown(build_report(profile_frame()))
    assert "| DW-Conv | 2.148 | 2.115 to 2.182 | faster |" in text
    assert "| --- | ---: | ---: | --- |" in text
    assert text.startswith("# 5 models compared\n")
