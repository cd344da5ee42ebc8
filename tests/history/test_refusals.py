"""What is no record or no history is refused in words, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.errors import OutputError, StmbenchError, TableError
from stmbench.history import adding
from stmbench.history.folder import MARK, History
from stmbench.history.record import read_record
from tests.history.stores import history, known, sha, store
from tests.tables.frames import failed_row


def test_a_replacement_that_fails_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = history(tmp_path, [1])
    import os

    rename = os.rename
    prepared: list[str] = []

    def fail(source: Path, target: Path) -> None:
        if not Path(target).name.startswith(".") and not prepared:
            prepared.append(str(source))
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OutputError, match="No space left"):
        adding.add(store(tmp_path / "again", sha(1), rows=[failed_row()]), made, find=known, replace=True)
    (record,) = made.records()
    assert record.summary().values
    assert not list(made.folder.glob("*/.*"))


def test_two_records_of_one_commit_are_named(tmp_path: Path) -> None:
    made = history(tmp_path, [1])
    (record,) = made.records()
    record.folder.parent.joinpath("copy").symlink_to(record.folder, target_is_directory=True)
    with pytest.raises(TableError, match=r"expected one record for commit .* got two: .* and copy in .*; remove one"):
        made.records()


def test_of_several_commits_one_has_to_be_named(tmp_path: Path) -> None:
    source = store(tmp_path / "s", sha(1))
    store(tmp_path / "s", sha(2), key="other")
    with pytest.raises(TableError, match=r"parts of one commit .* got 2: .*; choose one with --commit"):
        adding.add(source, History(tmp_path / "h"), find=known)
    (added,) = adding.add(source, History(tmp_path / "h"), find=known, commit=sha(2))
    assert (added.facts.commit, added.others) == (sha(2), 1)
    assert [path.name for path in (added.folder / "parts").iterdir()] == ["other.parquet"]


def test_a_commit_of_another_repository_may_be_named_and_another_of_the_same_may_not(tmp_path: Path) -> None:
    source = store(tmp_path / "s", sha(1))
    with pytest.raises(TableError, match=rf"expected parts of commit {sha(2)[:12]}, got parts of {sha(1)[:12]}"):
        adding.add(source, History(tmp_path / "h"), find=known, commit=sha(2))

    def users(name: str) -> adding.Commit:  # knows its own commit, and not stmbench's
        return known(name) if name == sha(2) else adding.Commit(sha=name)

    (added,) = adding.add(source, History(tmp_path / "h"), find=users, commit=sha(2))
    assert added.facts.subject == "Change 2"


def test_a_truncated_part_is_named_and_left_behind(tmp_path: Path) -> None:
    source = store(tmp_path / "s", sha(1))
    whole = (source.parts / "unit.parquet").read_bytes()
    (source.parts / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    (added,) = adding.add(source, History(tmp_path / "h"), find=known)
    assert [part.part for part in added.unreadable] == ["broken.parquet"]
    (record,) = History(tmp_path / "h").records()
    assert [part.part for part in record.summary().unreadable] == ["broken.parquet"]
    (source.parts / "unit.parquet").unlink()
    with pytest.raises(TableError, match=r"a store with a part that can be read, got none in .*broken.parquet"):
        adding.add(source, History(tmp_path / "h2"), find=known)
    assert not (tmp_path / "h2").exists()


def test_a_part_of_a_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("stmbench.tables.parts.SCHEMA_VERSION", 99)
        source = store(tmp_path / "s", sha(1))
    with pytest.raises(TableError, match=r"got version 99 in unit\.parquet; update stmbench"):
        adding.add(source, History(tmp_path / "h"), find=known)


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[str, type[StmbenchError]]] = [("a file", OutputError), ("a folder of other things", OutputError)]
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("x")
    for name, (words, error) in zip(("file", "folder"), cases, strict=True):
        with pytest.raises(error, match=f"an empty or new folder, got .*{words}"):
            History(tmp_path / name).create()
    for name, words in (("file", "a file"), ("folder", "not one"), ("nowhere", "nothing there")):
        with pytest.raises(TableError, match=rf"expected a history, got .*\({words}\); make one"):
            History(tmp_path / name).records()
    made = History(tmp_path / "h").create()
    assert made.records() == []
    (made.folder / MARK).write_text('{"version": 99}')
    with pytest.raises(TableError, match=r"version 99 .*; update stmbench"):
        made.records()
    (made.folder / MARK).write_text("[]")
    with pytest.raises(TableError, match="damaged"):
        made.records()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "damaged"), ("[]", "damaged"), ('{"version": 1}', "damaged"), ('{"version": 99}', "update stmbench")],
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str, words: str) -> None:
    made = history(tmp_path, [1])
    (path,) = made.folder.glob("*/*/record.json")
    path.write_text(text)
    with pytest.raises(TableError, match=words):
        read_record(path.parent)
