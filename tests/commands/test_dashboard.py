"""`stmbench dashboard`: what it writes and says, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.run import refusal, stmbench
from tests.history.stores import MACHINE, history, store
from tests.tables.frames import failed_row


def test_a_history_becomes_a_page_and_a_feed(tmp_path: Path) -> None:
    made = history(tmp_path, [1, 2])
    done = stmbench("dashboard", str(made.folder), "--out", str(tmp_path / "site"), "--title", "Speed\x1b & size")
    assert done.exit_code == 0, done.output
    assert f"{MACHINE}: 2 commits, 12 series, 0 regressions, 0 improvements" in done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        str(tmp_path / "site" / name) for name in ("index.html", "feed.xml")
    ]
    assert "<h1>Speed\\x1b &amp; size</h1>" in (tmp_path / "site" / "index.html").read_text()


def test_what_failed_and_was_skipped_is_said(tmp_path: Path) -> None:
    source = store(tmp_path / "s", "abcdef1234")
    (source.parts / "broken.parquet").write_bytes(b"PAR1")
    folder = str(tmp_path / "h")
    assert stmbench("history", "add", str(source.folder), "-H", folder, "--repository", str(tmp_path)).exit_code == 0
    done = stmbench("dashboard", folder, "--out", str(tmp_path / "site"))
    assert "warning: skipped the file broken.parquet of commit abcdef1234" in done.stderr
    assert "broken.parquet of commit abcdef1234" in (tmp_path / "site" / "index.html").read_text()


def test_a_history_of_failures_shows_them(tmp_path: Path) -> None:
    made = history(tmp_path, [1], rows=[failed_row()])
    done = stmbench("dashboard", str(made.folder), "--out", str(tmp_path / "site"))
    assert done.exit_code == 0, done.output
    assert "1 commits, 0 series" in done.stderr
    assert "failed unified_dcnv3_huge: out of memory" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["{tmp}/none"], "a history"),
        (["{tmp}/s"], "a history"),
        (["{tmp}/empty"], "a history with records"),
        (["{tmp}/history", "--commit-url", "https://example.org"], "{commit} in it"),
        (["{tmp}/history", "--url", "example.org"], "an http(s) address"),
        (["{tmp}/history", "--out", "{tmp}/file"], "to write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_refused_in_a_line(tmp_path: Path, words: list[str], expected: str) -> None:
    history(tmp_path, [1])
    store(tmp_path / "s", "abcdef1234")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "stmbench-history.json").write_text('{"version": 1}')
    assert expected in refusal("dashboard", *(word.replace("{tmp}", str(tmp_path)) for word in words))
