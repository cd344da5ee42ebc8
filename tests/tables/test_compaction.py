"""Merged parts: every unit keeps its rows, its metadata and its state, wherever a merge is stopped."""

from __future__ import annotations

import dataclasses
import fcntl
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from stmbench.errors import OutputError, TableError
from stmbench.tables import Store, compaction, packed, parts
from stmbench.tables.files import write_arrays
from tests.tables.frames import MIXERS, failed_row, profile_rows
from tests.tables.unsealed import unseal

KEYS = [f"unit-{number}" for number in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Six units: one with an artifact, one from before there were seals."""
    made = Store(tmp_path / "D").require_writable()
    rows = profile_rows(["halo_attn", "dw_conv"], raw=False)
    for number, key in enumerate(KEYS):
        some = [dataclasses.replace(row, value=None if row.value is None else row.value + number) for row in rows]
        made.write(key, some[number:], metadata={"commit": "abc", "mixers": MIXERS, "group": f"g{number % 2}"})
    path = made.artifact(KEYS[0], "maps.npz")
    write_arrays(path, {"map": [[0.25, 0.5]]})
    drawn = dataclasses.replace(rows[-1], metric="affinity_map", value=None, artifact=made.place(path))
    made.write(KEYS[0], [*rows, drawn], metadata={"commit": "abc", "mixers": MIXERS, "group": "g0", "status": "ok"})
    unseal(made.parts / f"{KEYS[1]}.parquet")
    return made


def facts(store: Store) -> tuple[pd.DataFrame, list[str], dict[str, object], list[str]]:
    keys = store.keys()
    return store.read(), keys, {key: store.metadata(key) for key in keys}, [key for key in keys if store.has(key)]


def assert_same(store: Store, expected: tuple[pd.DataFrame, list[str], dict[str, object], list[str]]) -> None:
    frame, *others = facts(store)
    pd.testing.assert_frame_equal(frame, expected[0])
    assert frame.attrs == expected[0].attrs
    assert others == list(expected[1:])


def singles(store: Store) -> list[str]:
    return [path.stem for path in packed.listing(store.parts).files]


def test_a_merged_store_answers_as_before(store: Store) -> None:
    before, each = facts(store), {key: store.read([key]) for key in KEYS}
    assert store.compact() == compaction.Compaction(merged=6, units=6, left=[])
    assert sorted(path.name for path in store.parts.iterdir()) == ["packed.parquet", f"{KEYS[0]}.maps.npz"]
    assert_same(store, before)
    assert store.keys(group="g1") == [KEYS[1], KEYS[3], KEYS[5]]
    assert store.names() == KEYS
    for key, frame in each.items():
        pd.testing.assert_frame_equal(store.read([key]), frame)


def test_a_second_merge_changes_nothing(store: Store) -> None:
    store.compact()
    first = parts.file_version(store.parts / packed.NAME)
    assert store.compact() == compaction.Compaction(merged=0, units=6, left=[])
    assert parts.file_version(store.parts / packed.NAME) == first


def test_a_new_part_replaces_the_merged_one_and_is_merged_too(store: Store) -> None:
    store.compact()
    store.write(KEYS[2], [failed_row(), failed_row()], metadata={"status": "failed"})
    store.write("zz", [failed_row()], metadata={})
    for _ in range(2):
        assert len(store.read([KEYS[2]])) == 2
        assert store.metadata(KEYS[2])["status"] == "failed"
        assert store.keys() == [*KEYS, "zz"]
        store.compact()
        assert singles(store) == []


@pytest.mark.parametrize("merged_again", [False, True])
def test_a_removed_unit_stays_removed(store: Store, merged_again: bool) -> None:
    store.compact()
    for key in (KEYS[0], KEYS[3]):
        store.remove(key)
        assert not store.has(key)
        with pytest.raises(TableError, match="no file"):
            store.metadata(key)
    if merged_again:
        assert store.compact() == compaction.Compaction(merged=0, units=4, left=[])
        assert [path.name for path in store.parts.iterdir()] == ["packed.parquet"]
    assert store.keys() == store.names() == [KEYS[1], KEYS[2], KEYS[4], KEYS[5]]
    assert store.read([KEYS[0]]).empty
    store.write(KEYS[0], [failed_row()], metadata={})
    assert store.has(KEYS[0])
    store.remove(KEYS[0])
    assert not store.has(KEYS[0])


def test_nothing_is_left_of_a_store_of_removed_units(store: Store) -> None:
    store.compact()
    for key in KEYS:
        store.remove(key)
    assert store.compact() == compaction.Compaction(merged=0, units=0, left=[])
    assert list(store.parts.iterdir()) == []
    assert store.read().empty


def test_a_damaged_part_is_named_and_left_alone(store: Store) -> None:
    path = store.parts / f"{KEYS[4]}.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    damaged = path.read_bytes()
    done = store.compact()
    assert (done.merged, done.units) == (5, 5)
    assert done.left == [(path.name, "other bytes than were written")]
    assert path.read_bytes() == damaged
    assert [part.part for part in store.read().attrs["unreadable"]] == [path.name]
    assert not store.has(KEYS[4])
    assert store.compact().merged == 0


def test_a_damaged_artifact_of_a_merged_unit_is_found(store: Store) -> None:
    store.compact()
    (store.parts / f"{KEYS[0]}.maps.npz").write_bytes(b"x")
    assert store.fault(KEYS[0]) == f"parts/{KEYS[0]}.maps.npz: 1 bytes instead of {_size(store)}"
    assert not store.has(KEYS[0])


def _size(store: Store) -> int:
    return int(store.metadata(KEYS[0])["artifacts"][f"parts/{KEYS[0]}.maps.npz"]["bytes"])


def test_a_damaged_packed_file_is_named_and_its_units_are_not_done(store: Store) -> None:
    store.compact()
    path = store.parts / packed.NAME
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), len(content) // 40):
        content[place] ^= 4
        path.write_bytes(content)
        assert not store.has(KEYS[2]), place
        assert store.fault(KEYS[2]) == "packed.parquet: other bytes than were written"
        assert [part.part for part in store.read().attrs["unreadable"]] == ["packed.parquet"]
        content[place] ^= 4
    store.write("new", [failed_row()], metadata={})
    path.write_bytes(content[:-1])
    with pytest.raises(TableError, match=r"packed.parquet as it was written, got .*; restore it from a copy"):
        store.compact()
    assert singles(store) == ["new"]
    path.write_bytes(content)
    assert store.keys() == ["new", *KEYS]


def test_an_older_version_refuses_the_packed_file(store: Store) -> None:
    """It would miss what it cannot read."""
    store.compact()
    with pytest.raises(TableError, match=r"schema version 3 or older, got version 4 in packed.parquet"):
        parts.read_part(store.parts / packed.NAME)


def test_no_other_unit_is_called_packed(store: Store) -> None:
    with pytest.raises(TableError, match="a unit's key"):
        store.write("packed", [failed_row()], metadata={})


# forks for each number that it reads, and the child kills itself at that one of the calls that change the disk
FATAL = """
import os, pathlib, signal, sys
from stmbench.tables import Store, compaction, files
def fatal(function, count, last):
    def called(*args, **kwargs):
        count.append(function)
        if len(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return called
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        count, last = [], int(line)
        os.replace, pathlib.Path.unlink = fatal(os.replace, count, last), fatal(pathlib.Path.unlink, count, last)
        compaction.sealed, files._sync = fatal(compaction.sealed, count, last), fatal(files._sync, count, last)
        Store(sys.argv[1]).compact()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_anywhere_nothing_is_lost_or_doubled(store: Store) -> None:
    store.compact()
    store.remove(KEYS[3])
    store.write(KEYS[2], [failed_row()], metadata={})
    store.write("zz", [failed_row()], metadata={})
    before, count, status = facts(store), 0, -signal.SIGKILL
    contents = {path.name: path.read_bytes() for path in store.parts.iterdir()}
    command = [sys.executable, "-c", FATAL, str(store.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        while status != 0:
            count += 1
            print(count, file=server.stdin, flush=True)
            status = int(server.stdout.readline())
            assert status in (0, -signal.SIGKILL)
            assert_same(store, before)
            store.compact()
            assert_same(store, before)
            assert singles(store) == []
            assert sorted(path.name for path in store.parts.glob("packed*")) == ["packed.parquet"]
            for path in store.parts.iterdir():
                path.unlink()
            for name, content in contents.items():
                (store.parts / name).write_bytes(content)
    assert count > 7


@pytest.mark.slow
def test_writers_and_readers_at_the_same_time_lose_nothing(store: Store) -> None:
    keys, ended, seen = [f"new-{number:02d}" for number in range(30)], threading.Event(), [0]

    def write() -> None:
        for place, key in enumerate(keys):
            store.write(key, [failed_row(), failed_row()], metadata={})
            if place % 3 == 2:
                store.remove(keys[place - 1])
        ended.set()

    def read() -> None:
        while not ended.is_set():
            frame = Store(store.folder).read([KEYS[0], keys[0]])
            assert frame.attrs["unreadable"] == []
            assert len(frame) - seen[0] in (0, 2), "the first unit's rows, and from some time on the new one's"
            seen[0] = len(frame)

    seen[0] = len(store.read([KEYS[0]]))
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(write), pool.submit(read)]
        merged = 0
        while not ended.is_set():
            merged += store.compact().merged
        for one in work:
            one.result()
    left = [key for place, key in enumerate(keys) if place % 3 != 1]
    assert merged > 6
    assert store.keys() == sorted([*KEYS, *left])
    assert len(store.read(left)) == 2 * len(left)


def test_where_nothing_can_be_merged(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match=r"expected a result store, got .*missing"):
        Store(tmp_path / "missing").compact()
    before = facts(store)
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "sealed", _fails)
        with pytest.raises(OutputError, match=r"packed.parquet, got Read-only file system; free space"):
            store.compact()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", _fails)
        with pytest.raises(OutputError, match=r"a folder that can be locked, .*; copy the store to a local disk"):
            store.compact()
        store.write(KEYS[2], [failed_row()], metadata={})
        store.remove(KEYS[2])
    assert store.keys() == [key for key in before[1] if key != KEYS[2]]
    assert not (store.parts / packed.NAME).exists()


def _fails(*_: object) -> None:
    raise OSError(30, "Read-only file system")


def test_a_units_files_leave_a_merged_store(tmp_path: Path, store: Store) -> None:
    other = Store(tmp_path / "other").require_writable()
    store.compact()
    store.write(KEYS[2], [failed_row()], metadata={})
    for key in KEYS:
        for name, content in store.contents(key).items():
            (other.parts / name).write_bytes(content)
    assert_same(other, facts(store))
    assert store.contents("nothing") == {}
