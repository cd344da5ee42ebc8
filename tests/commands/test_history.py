"""`stmbench history`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.run import refusal, stmbench
from tests.history.stores import MACHINE, history, sha, store
from tests.tables.frames import failed_row


def test_add_and_list(tmp_path: Path) -> None:
    folder, made = str(store(tmp_path / "s", sha(1)).folder), str(tmp_path / "h")
    given = ["--date", "2026-02-03", "--subject", "Make [bold]it[/bold] faster\nby far", "--repository", str(tmp_path)]
    done = stmbench("history", "add", folder, "-H", made, *given)
    assert done.exit_code == 0, done.output
    assert f"13 values added as {made}/{MACHINE}/20260203T000000Z-{sha(1)[:12]}" in done.stdout
    shown = stmbench("history", "list", made).stdout
    assert "Make [bold]it[/bold]" in shown
    (line,) = json.loads(stmbench("history", "list", made, "--json").stdout)
    assert (line["machine"], line["commit"], line["models"], line["values"]) == (MACHINE, sha(1), 2, 13)
    assert "give --replace" in refusal("history", "add", folder, "-H", made, *given)
    again = stmbench("history", "add", folder, "-H", made, *given, "--replace", "--json")
    assert json.loads(again.stdout)[0]["values"] == 13


def test_what_is_wrong_with_a_store_is_said(tmp_path: Path) -> None:
    source = store(tmp_path / "s", sha(1), rows=[failed_row()], dirty=True)
    (source.parts / "broken.parquet").write_bytes(b"PAR1")
    done = stmbench("history", "add", str(source.folder), "-H", str(tmp_path / "h"), "--repository", str(tmp_path))
    assert done.exit_code == 0
    for words in ("skipped the file broken.parquet", "out of memory", "no tracked metric", "uncommitted changes"):
        assert words in done.stderr


def test_prune_says_what_it_removes(tmp_path: Path) -> None:
    made = history(tmp_path, [1, 2, 3])
    dry = stmbench("history", "prune", str(made.folder), "--keep", "1", "--dry-run")
    assert (len(dry.stdout.splitlines()), dry.stderr.strip()) == (2, "2 records would be removed")
    assert len(made.records()) == 3
    done = stmbench("history", "prune", str(made.folder), "--before", "2026-01-01T02:30:00")
    assert done.stderr.strip() == "2 records removed"
    assert [record.facts.subject for record in made.records()] == ["Change 3"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["add", "{tmp}/none", "-H", "{tmp}/h"], "a result store"),
        (["add", "{tmp}/s", "-H", "{tmp}/file"], "a history, or an empty or new folder"),
        (["add", "{tmp}/s", "-H", "{tmp}/h", "--commit", "main", "--repository", "{tmp}"], "a commit"),
        (["add", "{tmp}/s", "-H", "{tmp}/h", "--date", "monday"], "a date"),
        (["list", "{tmp}/none"], "a history"),
        (["list", "{tmp}/s"], "a history"),
        (["prune", "{tmp}/none", "--keep", "1"], "a history"),
        (["prune", "{tmp}/none"], "a rule for what to remove"),
        (["prune", "{tmp}/none", "--keep", "0"], "keep"),
        (["lst"], "a command of stmbench history"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_refused_in_a_line(tmp_path: Path, words: list[str], expected: str) -> None:
    store(tmp_path / "s", sha(1))
    (tmp_path / "file").write_text("x")
    assert expected in refusal("history", *(word.format(tmp=tmp_path) for word in words))


def test_a_history_without_records_says_how_to_begin(tmp_path: Path) -> None:
    made = history(tmp_path, [])
    made.create()
    assert "add one with" in stmbench("history", "list", str(made.folder)).stderr
    assert json.loads(stmbench("history", "list", str(made.folder), "--json").stdout) == []
