"""Files that appear whole or not at all, and never in the place of what is no file."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from stmbench.errors import OutputError
from stmbench.tables import files
from stmbench.tables.files import STALE_AFTER_S, remove_stale_temporaries, replacing, write_file


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """As a device would: `export --out /dev/full`, by root, once made a file of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for place in (pipe, tmp_path / "link"):
        got = list[str]()
        reader = threading.Thread(target=lambda got=got: got.append(pipe.read_text()), daemon=True)
        reader.start()
        write_file(place, "text")
        reader.join(10)
        assert got == ["text"]
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    for text in ("made", "replaced"):  # the first through a link that leads nowhere yet
        write_file(tmp_path / "link", text)
        assert (tmp_path / "there" / "file").read_text() == text
        assert (tmp_path / "link").is_symlink()


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"to write .*folder, got Is a directory; choose another place"):
        write_file(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_first_write_to_a_folder_cleans_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What killed runs left goes; a live writer's file stays, another machine's for a day, and others' for ever."""
    monkeypatch.setattr(files, "_is_running", lambda process: process == 7)
    host = files._host()
    left = f".report.{host}-1-0a1b2c3d.tmp"
    kept = [f".report.{host}-7-0a1b2c3d.tmp", ".report.elsewhere-1-0a1b2c3d.tmp", ".editor.tmp", ".my.notes-1.tmp"]
    old = [".report.another-1-0a1b2c3d.tmp", ".long.ago.tmp"]
    for name in (left, *kept, *old):
        (tmp_path / name).write_text("x")
    before = time.time() - STALE_AFTER_S - 60
    for name in old:
        os.utime(tmp_path / name, (before, before))
    write_file(tmp_path / "report.html", "text")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, ".long.ago.tmp", "report.html"}
    assert remove_stale_temporaries(tmp_path) == 0


def test_no_trace_of_a_write_that_failed(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "older")

    def fail() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "older")]


def test_a_large_file_is_hashed_once_and_again_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGE", 4)
    path = tmp_path / "array"
    path.write_bytes(b"12345678")
    (facts,) = files.artifact_facts(tmp_path, ["array"]).values()
    before = files._hash_of.cache_info().hits
    assert files.artifact_fault(path, facts) is None
    assert files._hash_of.cache_info().hits == before + 1
    path.write_bytes(b"12345679")
    os.utime(path, (1, 1))  # whatever the clock's resolution
    assert files.artifact_fault(path, facts) == "other bytes than were written"
