"""Names, reasons and titles with control characters are shown escaped, in every format and on the terminal."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import pytest

from stmbench.errors import ConfigError, PluginError, printable
from stmbench.plugins import load_plugin
from stmbench.reporting.dashboard.page import write_dashboard
from stmbench.tables import Store, read
from stmbench.tables.rows import printable_in
from tests.commands import run
from tests.experiments.files import write
from tests.history.series import machines, noisy, series_key
from tests.tables.frames import failed_row, profile_rows

BAD = "a\x1b[31mred\x00\x07\u202eb"
SHOWN = "a\\x1b[31mred\\x00\\x07\\u202eb"


class Pair(NamedTuple):
    part: str
    number: int


def is_clean(text: str) -> bool:
    return not any(letter in text for letter in "\x00\x07\x1b\u202e")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (BAD, SHOWN),
        ("plain – ümlaut, 模型, a\u200db", "plain – ümlaut, 模型, a\u200db"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\ud800 \ufffe \U000e0001 \x7f\x9b\r", "\\ud800 \\ufffe \\U000e0001 \\x7f\\x9b\\x0d"),
        (SHOWN, SHOWN),
    ],
    ids=range(5),
)
def test_printable_escapes_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_printable_in_escapes_nested_text() -> None:
    found = printable_in({BAD: [BAD, 1, (BAD, None)], "pair": Pair(part=BAD, number=2)})
    assert found == {SHOWN: [SHOWN, 1, (SHOWN, None)], "pair": Pair(part=SHOWN, number=2)}
    assert isinstance(found["pair"], Pair)
    assert str(ConfigError("a", BAD, "b")) == f"expected a, got {SHOWN}; b"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    rows = [row for row in profile_rows(["dw_conv"], raw=False) if row.metric in ("params", "throughput")]
    rows += [dataclasses.replace(row, model=BAD, mixer=None, dataset=BAD) for row in rows if row.model]
    rows += [failed_row(BAD, reason=BAD)]
    mixers = {"dw_conv": {"title": BAD, "abbreviation": BAD, "palette_slot": 0}}
    Store(folder).write("a", rows, metadata={"mixers": mixers, "commit": "f0800b5", "warnings": [BAD]})
    return folder


def test_reading_a_store_escapes_its_text(store: Path) -> None:
    frame = read(store)
    assert SHOWN in set(frame["model"])
    assert frame.attrs["warnings"] == [SHOWN]
    assert frame.attrs["mixers"]["dw_conv"]["title"] == SHOWN


def test_every_report_format_is_free_of_control_characters(store: Path, tmp_path: Path) -> None:
    formats = "html,latex,markdown" + (",pdf" if importlib.util.find_spec("typst") else "")
    arguments = ("--format", formats, "--title", BAD.replace("\x00", ""), "--out", str(tmp_path / "r"))
    result = run.stmbench("report", str(store), *arguments)
    assert result.exit_code == 0, result.output
    for name in ("r.html", "r.tex", "r.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert is_clean(text), name
        assert "x1b" in text, name
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"<title>{SHOWN.replace(chr(92) + 'x00', '')}" in page
    assert page.count(SHOWN) > 5, "in figures, tables and caveats"


def test_export_and_terminal_are_free_of_control_characters(store: Path) -> None:
    result = run.stmbench("export", str(store))
    assert is_clean(result.stdout)
    assert SHOWN in result.stdout
    refusal = run.refusal("report", str(store / BAD.replace("\x00", "")))
    assert is_clean(refusal)


def test_dashboard_and_feed_are_free_of_control_characters(tmp_path: Path) -> None:
    worse = {series_key(model=BAD): noisy((20, 100.0), (20, 90.0))}
    write_dashboard(machines(worse, text=BAD), tmp_path, title=BAD)
    feed, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("feed.xml", "index.html"))
    ET.fromstring(feed.encode())
    assert is_clean(feed)
    assert is_clean(page)
    assert feed.count(SHOWN) > 3
    assert json.dumps(SHOWN)[1:-1] in page


def test_plugin_name_with_control_characters_is_refused(tmp_path: Path) -> None:
    text = "from torch import nn\nfrom stmbench.mixers.base import MixerConfig, register_mixer\n\n\n"
    text += "@register_mixer('odd', config=MixerConfig, title='O\\x1b[2Jdd')\nclass Odd(nn.Module):\n"
    text += (
        "    def __init__(self, config):\n        super().__init__()\n\n    def forward(self, x):\n        return x\n"
    )
    (tmp_path / "odd.py").write_text(text)
    with pytest.raises(PluginError, match=r"expected title of odd in printable characters, got 'O\\x1b\[2Jdd'"):
        load_plugin(tmp_path / "odd.py")


def test_plan_of_an_experiment_is_free_of_control_characters(tmp_path: Path) -> None:
    text = 'title: "T\\e[31m"\nmodels: [unified_identity_nano]\ndata: {set: digits}\nanalyses: [eval]\n'
    result = run.stmbench("run", str(write(tmp_path, text)), "--dry-run")
    assert result.exit_code == 0, result.output
    assert is_clean(result.stdout)
    assert "T\\x1b[31m" in result.stdout
