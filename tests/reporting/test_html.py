"""The page: whole, offline, escaped; and what it says in words."""

from __future__ import annotations

import base64
import dataclasses
import functools
import gc
import html.parser
import re
import zlib
from pathlib import Path

import pytest

from stmbench.errors import OutputError, UnknownNameError
from stmbench.reporting import build_report, write_report
from stmbench.reporting.formats import html as formats_html
from stmbench.reporting.formats.html import html as render
from stmbench.tables import frame_of
from tests.tables.frames import failed_row, profile_frame, profile_rows, with_attrs

EVIL = '<script>alert("x")</script>&$x_{$'


@functools.cache
def page_of_five() -> str:
    return render(build_report(profile_frame(), title="T"))


class Ids(html.parser.HTMLParser):
    """Collects ids, tags and attribute values."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.values: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.values.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")


def parsed(text: str) -> Ids:
    parser = Ids()
    parser.feed(text)
    return parser


def test_ids_are_unique_and_every_reference_has_its_target() -> None:
    page = parsed(page_of_five())
    assert len(page.ids) == len(set(page.ids))
    for name, value in page.values:
        for target in re.findall(r"url\(#([^)]+)\)", value) + ([value[1:]] if value.startswith("#") else []):
            if name in ("href", "xlink:href", "clip-path", "style", "fill"):
                if re.fullmatch(r"[0-9a-f]{6}", target) and name == "fill":
                    continue
                assert target in page.ids, (name, value)
        if name in ("aria-labelledby",):
            assert set(value.split()) <= set(page.ids)


def test_page_loads_nothing_from_the_network() -> None:
    text = page_of_five()
    page = parsed(text)
    assert "default-src 'none'" in text
    assert not {"img", "iframe", "object"} & set(page.tags)
    for name, value in page.values:
        if name in ("src", "href", "xlink:href", "srcset"):
            assert value.startswith("#") or value == "data:,", value
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_user_text_is_escaped() -> None:
    rows = [dataclasses.replace(row, model=EVIL, mixer=None) for row in profile_rows(["dw_conv"]) if row.model]
    rows += [row for row in profile_rows(["dw_conv"]) if row.model is None]
    frame = with_attrs(frame_of([*rows, failed_row(EVIL, reason=EVIL)]))
    frame.attrs.update(command=EVIL, machines=[EVIL], warnings=[EVIL], commits={EVIL: 1, "b": 2}, stores=[EVIL])
    text = render(build_report(frame, title=EVIL))
    assert "<script>alert" not in text
    assert text.count("<script>") == 1, "the page's own"
    assert "&lt;script&gt;alert" in text


def test_page_states_conditions_and_caveats() -> None:
    frame = with_attrs(
        frame_of([*profile_rows(), failed_row(reason="out of memory"), failed_row(reason="out of memory")])
    )
    frame.attrs.update(
        commits={"aaaa": 3, "bbbb": 5},
        unreadable=[("x.parquet", "truncated")],
        machines=[{"cpu": "A processor", "logical_cores": 2, "memory_gib": 8}],
    )
    frame.attrs["warnings"] = ["time was stolen"]
    text = render(build_report(frame, title="Five mixers"))
    for words in (
        "DW-Conv has the highest throughput of 5: 131.0 images/s (95 % interval 129.0 to 132.8)",
        "It is the fastest with a probability of 95 %",
        "Throughput relative to Halo-Attn",
        "2.115 to 2.182",
        "A processor, 2 logical cores, 8 GiB",
        "never trained",
        "time was stolen",
        "Rows of 2 commits",
        "x.parquet could not be read and is left out: truncated",
        "DCNv3 and Halo-Attn: the interval is 0.061 wide after 120 s",
        "unified_dcnv3_huge (2 rows): out of memory",
        "MACs are multiply-adds",
        "GMAC/s",
    ):
        assert words in text, words
    assert "FLOP" not in text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([failed_row()], "0 models were counted"),
        ([row for row in profile_rows(["dw_conv"]) if row.metric == "params"], "1 model was counted; no timings"),
        ([row for row in profile_rows(["dw_conv"]) if row.metric == "throughput"], "DW-Conv was timed: 131.0"),
    ],
)
def test_pages_with_few_rows(rows: list, words: str) -> None:
    assert words in render(build_report(with_attrs(frame_of(rows))))


def test_page_is_written_atomically(tmp_path: Path) -> None:
    report = build_report(profile_frame(["dw_conv"]))
    (path,) = write_report(report, tmp_path / "new" / "page")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(report, tmp_path / "file" / "page")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OutputError, match=r"folder\.html"):
        write_report(report, tmp_path / "folder")
    with pytest.raises(UnknownNameError, match="a format, got 'docx'"):
        write_report(report, tmp_path / "other", ["docx"])
    assert gc.isenabled()  # which is off meanwhile


def test_a_large_page_is_packed_and_says_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    report, plain = build_report(profile_frame(), title="T"), page_of_five()
    monkeypatch.setattr(formats_html, "LARGE", 1000)
    page = render(report)
    assert len(page) < 0.5 * len(plain)
    (data,) = re.findall(r'const PACKED = "([^"]*)"', page)
    content = zlib.decompress(base64.b64decode(data), -15).decode()
    assert plain.partition("<main>")[2].startswith(content)
    assert page.replace(data, "").count("<script") == 1
    assert "<noscript><p>This report is large" in page
    assert 'data-model="' not in page
    assert len(render(report, live="1")) > len(plain), "what is served is sent as it is"


def test_number_cells_carry_sort_values() -> None:
    page = parsed(page_of_five())
    values = [float(value) for name, value in page.values if name == "data-value"]
    assert {4.36e6, 0.847e9, 131.0, 412 * 2**20} <= set(values)
