"""`stmbench report` from stores to files, and what can be wrong with either."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stmbench.tables import Row, Store, files
from stmbench.tables.parts import VERSION_KEY
from tests.commands import run
from tests.tables.frames import MIXERS, failed_row, profile_rows

SOME = ("dw_conv", "sr_attn")


def store(folder: Path, rows: Sequence[Row] | None = None, *, key: str = "a") -> str:
    """A store with one part; by default of what one figure needs, as drawing takes its time."""
    chosen = [row for row in profile_rows(list(SOME), raw=False) if row.metric in ("params", "throughput")]
    chosen = chosen if rows is None else list(rows)
    Store(folder).write(key, chosen, metadata={"mixers": MIXERS, "commit": "f0800b5", "warnings": []})
    return str(folder)


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_a_page_and_a_document_of_two_stores(tmp_path: Path) -> None:
    pytest.importorskip("typst")
    other = [dataclasses.replace(row, analysis="train") for row in profile_rows(["dcnv3"]) if row.metric == "params"]
    stores = store(tmp_path / "one"), store(tmp_path / "two", other)
    result = run.stmbench("report", *stores, "--out", str(tmp_path / "out" / "report"), "--title", "Two stores")
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == {"report.html", "report.pdf"}
    assert result.stdout.split() == [str(tmp_path / "out" / f"report.{ending}") for ending in ("html", "pdf")]
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("Two stores", "Cost and speed", "Train", "DCNv3", str(tmp_path / "two")):
        assert words in page, words


def test_tables_for_papers(tmp_path: Path) -> None:
    result = run.stmbench("report", store(tmp_path / "s"), "-f", "latex,markdown", "-o", str(tmp_path / "out" / "r.md"))
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == {"r.tex", "r.md"}
    assert r"\toprule" in (tmp_path / "out" / "r.tex").read_text()


def test_a_damaged_part_is_named_and_the_rest_reported(tmp_path: Path) -> None:
    folder = store(tmp_path / "s")
    store(tmp_path / "s", key="b")
    (tmp_path / "s" / "parts" / "b.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "s" / "parts" / "c.parquet").write_text("text")
    result = run.stmbench("report", folder, "--format", "html", "--out", str(tmp_path / "r"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "r.html").read_text()
    assert "2 files of the store could not be read and are left out" in page
    assert "The file b.parquet" in page
    assert "The file c.parquet" in page
    assert "skipped the file c.parquet" in result.stderr
    assert "131.0" in page


def test_only_failed_units_still_give_their_reasons(tmp_path: Path) -> None:
    rows = [failed_row(reason="out of memory"), failed_row("timm:x", status="skipped", reason="no such size")]
    rows += [dataclasses.replace(row, analysis=name) for name in ("eval", "erf", "robustness", "affinity", "train",
             "invariance_scale") for row in rows]  # fmt: skip
    formats = "html,pdf,latex,markdown" if importlib.util.find_spec("typst") else "html,latex,markdown"
    result = run.stmbench("report", store(tmp_path / "s", rows), "-f", formats, "--out", str(tmp_path / "r"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "r.html").read_text()
    assert page.count("unified_dcnv3_huge: out of memory") == 7
    assert page.count("timm:x: no such size") == 7
    assert "Nothing could be measured" in page


def _newer(folder: Path) -> str:
    path = Path(store(folder)) / "parts" / "a.parquet"
    table = pq.read_table(path)
    path.write_bytes(files.sealed(table.replace_schema_metadata({**table.schema.metadata, VERSION_KEY: b"99"})))
    return str(folder)


def test_stores_that_cannot_be_reported(tmp_path: Path) -> None:
    (tmp_path / "empty" / "parts").mkdir(parents=True)
    (tmp_path / "broken" / "parts").mkdir(parents=True)
    (tmp_path / "broken" / "parts" / "a.parquet").write_bytes(b"PAR1")
    out = ("--format", "html", "--out", str(tmp_path / "out" / "r"))
    cases: dict[str, list[str]] = {
        "expected a result store, got": [str(tmp_path / "missing")],
        "expected rows to report, got none in": [str(tmp_path / "empty")],
        "files that cannot be read: 1, such as a.parquet": [str(tmp_path / "broken")],
        "got version 99 in a.parquet (store ": [store(tmp_path / "good"), _newer(tmp_path / "newer")],
    }
    for words, stores in cases.items():
        assert words in run.refusal("report", *stores, *out)
    assert written(tmp_path / "out") == set()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    folder = store(tmp_path / "s")
    (tmp_path / "out" / "r.pdf").mkdir(parents=True)
    line = run.refusal("report", folder, "-f", "html,pdf", "-o", str(tmp_path / "out" / "r"))
    assert line.startswith("expected a file to write, got the folder")
    assert written(tmp_path / "out") == {"r.pdf"}
    (tmp_path / "file").write_text("")
    assert "expected to write" in run.refusal("report", folder, "-f", "html", "-o", str(tmp_path / "file" / "r"))
    assert "expected a file name for --out" in run.refusal("report", folder, "--out", ".")
    assert "did you mean markdown?" in run.refusal("report", folder, "--format", "markdwn")


def test_without_typst_the_page_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "typst" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setitem(__import__("sys").modules, "typst", None)  # importing it is an ImportError
    folder = store(tmp_path / "s")
    result = run.stmbench("report", folder, "--out", str(tmp_path / "a" / "r"))
    assert result.exit_code == 0, result.output
    assert "pip install 'stmbench[report]'" in result.stderr
    assert written(tmp_path / "a") == {"r.html"}
    both = run.stmbench("report", folder, "-f", "html,pdf", "--out", str(tmp_path / "b" / "r"))
    assert both.exit_code == 2
    assert written(tmp_path / "b") == {"r.html"}
    assert "stmbench[report]" in run.refusal("report", folder, "-f", "pdf", "--out", str(tmp_path / "c" / "r"))
    assert written(tmp_path / "c") == set()
