"""The PDF: the same bytes for the same content, full pages, hostile names as text, and no typst."""

from __future__ import annotations

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from stmbench.errors import MissingPackageError
from stmbench.figures.style import canvas
from stmbench.reporting import build_report
from stmbench.reporting.content import Cell, Column, Plot, Report, Row, Section, Table
from stmbench.reporting.formats.pdf import pdf
from tests.reporting.evil import NAMES, evil_report
from tests.tables.frames import profile_frame


@pytest.fixture
def without_typst(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra 'report'."""
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name == "typst":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "typst", raising=False)
    monkeypatch.setattr(builtins, "__import__", refusing)


@pytest.mark.usefixtures("without_typst")
def test_without_typst_the_extra_is_named() -> None:
    with pytest.raises(MissingPackageError, match=r"pip install 'stmbench\[report\]'"):
        pdf(build_report(profile_frame(["dw_conv"])))


def test_the_same_content_gives_the_same_bytes() -> None:
    pytest.importorskip("typst")
    frame = profile_frame(["dw_conv", "sr_attn"], raw=False)
    some = frame[frame["metric"].isin(["throughput", "macs"])]
    first, second = (pdf(build_report(some)) for _ in range(2))
    assert first.startswith(b"%PDF-")
    assert first == second
    assert b"CreationDate" not in first


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_escaped(name: str) -> None:
    pytest.importorskip("typst")
    assert pdf(evil_report(name)).startswith(b"%PDF-")


def test_no_page_but_the_last_is_more_than_half_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    typst = pytest.importorskip("typst")
    pages: list[bytes] = []
    compiled = typst.compile

    def also_as_pictures(main: Path, **options: Any) -> Any:
        pages.extend(compiled(main, **{**options, "format": "png", "ppi": 20}))
        return compiled(main, **options)

    monkeypatch.setattr(typst, "compile", also_as_pictures)
    pdf(_with_tall_figures())
    filled = [_filled(page) for page in pages]
    assert len(filled) > 4
    assert min(filled[:-1]) > 0.5, filled


def _with_tall_figures() -> Report:
    """Sections that end anywhere on a page, with figures as tall as they come."""
    sections = []
    for number in range(6):
        plots = []
        for height in (3.0, 12.0, 20.0)[: 1 + number % 3]:
            with canvas(height) as (figure, _):
                plots.append(Plot(name=f"p{height}", figure=figure, title="Title", shows="Words. " * 60))
        line = Row(cells=(Cell(text="1"),))
        lines = (line,) * (3 * number + 1)
        table = Table(name=f"t{number}", title="Values", columns=(Column(heading="A"),), lines=lines, note="A note.")
        sections.append(Section(name=f"s{number}", heading="Heading", lead="Lead. " * 20 * number,
                                plots=tuple(plots), tables=(table,)))  # fmt: skip
    return Report(title="T", lead="L", headline=None, facts=(), caveats=(), subjects=(), sections=tuple(sections),
                  rows=1, version="1")  # fmt: skip


def _filled(page: bytes) -> float:
    """How far down the page something stands, as a share of the text's height."""
    grey = image.imread(io.BytesIO(page))[..., :3].mean(axis=2)
    top, bottom = (round(cm / 29.7 * len(grey)) for cm in (2.2, 29.7 - 2.2))
    inked = np.flatnonzero((grey[top:bottom] < 0.8).any(axis=1))
    return float(inked.max() + 1) / (bottom - top) if len(inked) else 0.0
