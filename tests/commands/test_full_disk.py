"""Disks that are full, folders that cannot be read or written: one line, exit code 2, and nothing half done."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stmbench.tables import Store
from tests.commands import run
from tests.tables.frames import MIXERS, profile_rows

FULL = Path("/dev/full")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    made = Store(tmp_path / "store").require_writable()
    made.write("a", profile_rows(["dw_conv", "sw_attn"]), metadata={"mixers": MIXERS})
    return str(made.folder)


@pytest.fixture
def full_disk(folder: str) -> Iterator[None]:
    """No file may grow beyond 1 KiB from now on, when the store is there: what writes fails as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


COMMANDS = {
    "export": ("export", "STORE", "--out", "OUT/table.csv"),
    "html": ("report", "STORE", "--format", "html", "--out", "OUT/report"),
    "latex": ("report", "STORE", "--format", "latex", "--out", "OUT/report"),
    "new": ("new", "mixer", "my_mixer", "--out", "OUT/my_mixer.py"),
    "history": ("history", "add", "STORE", "--history", "OUT/history", "--commit", "a" * 40, "--date", "2026-03-14"),
}


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_full_disk_is_one_line(tmp_path: Path, folder: str, words: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run.refusal(*(word.replace("STORE", folder).replace("OUT", str(out)) for word in words))
    left = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert left == ([] if words[0] != "history" else ["history/stmbench-history.json"])


@pytest.mark.skipif(not FULL.exists() or not stat.S_ISCHR(FULL.stat().st_mode), reason="no such device")
def test_standard_output_that_is_full(folder: str) -> None:
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "stmbench", "export", folder]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: expected ")
    assert "got No space left on device; " in line


def test_standard_output_that_is_closed(folder: str) -> None:
    command = ["sh", "-c", 'exec "$0" "$@" >&-', sys.executable, "-m", "stmbench", "export", folder]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: expected standard output, got none, it is closed; redirect it to a file or /dev/null\n",
    )


@pytest.mark.parametrize("words", [("export",), ("report", "--format", "html", "--out", "r")], ids=["export", "report"])
def test_a_strangers_store(folder: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """A folder that may not be listed is no empty one."""

    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("stmbench.tables.store.os.scandir", refuse)
    line = run.refusal(words[0], folder, *words[1:])
    assert line.startswith(f"expected a result store that can be read, got {folder!r} (Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_read_only_store(tmp_path: Path, folder: str) -> None:
    for place in (Path(folder) / "parts", Path(folder)):
        place.chmod(0o555)
    try:
        for words in (("export", folder), ("report", folder, "--format", "html", "--out", str(tmp_path / "r"))):
            assert run.stmbench(*words).exit_code == 0
    finally:
        for place in (Path(folder), Path(folder) / "parts"):
            place.chmod(0o755)


def test_reading_leaves_a_store_as_it_is(tmp_path: Path, folder: str) -> None:
    """What root cannot be kept from: no file of a store is made, changed or touched."""

    def seen() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in [Path(folder), *Path(folder).rglob("*")]
        }

    before = seen()
    for words in (("export", folder), ("report", folder, "--format", "html", "--out", str(tmp_path / "r"))):
        assert run.stmbench(*words).exit_code == 0
    assert seen() == before
