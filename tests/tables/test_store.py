"""The part store: whole parts or none, resume, damage, and what a folder may not be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stmbench.errors import OutputError, TableError
from stmbench.tables import COLUMNS, Store, files, read, unit_key
from stmbench.tables import parts as parts_module
from tests.tables.frames import MIXERS, failed_row, profile_rows
from tests.tables.unsealed import unsealed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "D").require_writable()


def test_round_trip(store: Store) -> None:
    rows = profile_rows()
    store.write(unit_key({"block": 0}), rows, metadata={"commit": "abc", "mixers": MIXERS, "machine": {"cpu": "x"}})
    frame = read(store.folder)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == len(rows)
    assert frame["value"].tolist() == [row.value for row in rows]
    assert frame["created_utc"].iloc[0] == rows[0].created_utc
    assert frame["model"].iloc[0] is frame["model"].array.dtype.na_value
    assert frame.attrs["mixers"] == MIXERS
    assert frame.attrs["commits"] == {"abc": len(rows)}
    assert frame.attrs["machines"] == [{"cpu": "x"}]
    assert frame.attrs["unreadable"] == []


def test_parts_add_up_and_a_key_is_replaced(store: Store) -> None:
    for index, commit in enumerate(("one", "two")):
        store.write(unit_key({"unit": index}), [failed_row(), failed_row()], metadata={"commit": commit})
    store.write(unit_key({"unit": 0}), [failed_row()], metadata={"commit": "one"})
    assert store.read().attrs["commits"] == {"one": 1, "two": 2}
    assert store.keys(commit="two") == [unit_key({"unit": 1})]
    assert store.metadata(unit_key({"unit": 1})) == {"commit": "two", "artifacts": {}}
    store.remove(unit_key({"unit": 1}))
    assert store.keys() == [unit_key({"unit": 0})]
    assert not store.has(unit_key({"unit": 1}))


def test_unit_key_is_canonical() -> None:
    assert unit_key({"a": 1, "b": (1, 2)}) == unit_key({"b": [1, 2], "a": 1})
    assert unit_key({"a": 1}) != unit_key({"a": 2})
    assert len(unit_key({})) == 64
    for fact in (float("nan"), object(), {1, 2}):
        with pytest.raises(TableError, match="facts that JSON can hold"):
            unit_key({"a": fact})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "other bytes than were written"),
        (lambda path: path.write_bytes(b""), ""),
        (lambda path: path.write_text("not parquet at all"), "arquet"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "did not write"),
    ],
    ids=["truncated", "empty", "text", "foreign"],
)
def test_damaged_part_is_named_skipped_and_made_again(store: Store, damage, reason: str) -> None:
    good, bad = unit_key({"unit": "good"}), unit_key({"unit": "bad"})
    for key in (good, bad):
        store.write(key, [failed_row()], metadata={})
    damage(store.parts / f"{bad}.parquet")
    frame = store.read()
    assert len(frame) == 1
    (unreadable,) = frame.attrs["unreadable"]
    assert unreadable.part == f"{bad}.parquet"
    assert reason in unreadable.reason
    assert store.has(good)
    assert not store.has(bad)
    assert store.keys() == [good]


def test_newer_schema_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "SCHEMA_VERSION", 99)
        store.write("a", [failed_row()], metadata={})
    for use in (store.read, lambda: store.has("a")):
        with pytest.raises(TableError, match=r"schema version 3 or older, got version 99 in a.parquet; update"):
            use()


def test_part_with_another_column_is_named_and_made_again(store: Store) -> None:
    path = store.write("a", [failed_row()], metadata={})
    store.write("b", [failed_row()], metadata={})
    table = unsealed(path)
    index = table.schema.get_field_index("value")
    for changed, words in (
        (table.drop_columns(["value"]), "expected the column 'value', got none"),
        (table.append_column("extra", pa.array([1])), "an unknown one, 'extra'"),
        (table.set_column(index, "value", pa.array(["x"])), "expected value as double, got string"),
    ):
        pq.write_table(changed, path)
        frame = store.read()
        (unreadable,) = frame.attrs["unreadable"]
        assert words in unreadable.reason
        assert len(frame) == 1
        assert not store.has("a")


def test_empty_store_has_the_columns_and_no_rows(store: Store) -> None:
    frame = store.read()
    assert tuple(frame.columns) == COLUMNS
    assert frame.empty


def test_folder_that_is_no_store(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(TableError, match="expected a result store"):
            read(folder)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="a folder that can be written"):
        Store(tmp_path / "file").require_writable()
    with pytest.raises(OutputError):
        Store(tmp_path / "file" / "below").require_writable()


def test_nothing_half_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts_module.pq, "write_table", full)
    with pytest.raises(OutputError, match="No space left"):
        store.write("a", [failed_row()], metadata={})
    assert list(store.parts.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "metadata", "words"),
    [([], {}, "at least one row"), ([failed_row()], {"x": object()}, "metadata that JSON can hold")],
)
def test_refused_writes(store: Store, rows: list, metadata: dict, words: str) -> None:
    with pytest.raises(TableError, match=words):
        store.write("a", rows, metadata=metadata)
    assert list(store.parts.iterdir()) == []


def test_keys_and_artifacts_stay_inside(store: Store) -> None:
    assert store.artifact("k", "erf.npy") == store.parts / "k.erf.npy"
    for key, name in (("../k", "erf.npy"), ("k", "../erf.npy"), ("k", "parquet"), ("", "a"), ("k", "")):
        with pytest.raises(TableError):
            store.artifact(key, name)
    store.artifact("k", "erf.npy").write_bytes(b"x")
    store.write("k", [failed_row()], metadata={})
    store.remove("k")
    assert list(store.parts.iterdir()) == []


def test_killed_writer_leaves_nothing_that_counts(store: Store) -> None:
    """SIGKILL in the middle of a write: the store reads as before, and opening it again removes the rest."""
    store.write("done", [failed_row()], metadata={})
    script = (
        "import sys, time\n"
        "from stmbench.tables import Store, parts\n"
        "from tests.tables.frames import failed_row\n"
        "def stuck(table, file, **options):\n"
        "    file.write(b'PAR1'); file.flush(); print('writing', flush=True); time.sleep(600)\n"
        "parts.pq.write_table = stuck\n"
        "Store(sys.argv[1]).write('killed', [failed_row()], metadata={})\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(store.folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    store.require_writable()
    assert len(list(store.parts.glob(".*.tmp"))) == 1, "a live writer's file stays"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert store.keys() == ["done"]
    assert len(store.read()) == 1
    assert not store.has("killed")
    store.require_writable()
    assert list(store.parts.glob(".*.tmp")) == []


def test_another_machines_temporary_file_stays_for_a_day(store: Store) -> None:
    temporary = store.parts / ".k.elsewhere-1-aaaa.tmp"
    temporary.write_bytes(b"x")
    store.require_writable()
    assert temporary.exists()
    old = time.time() - files.STALE_AFTER_S - 60
    os.utime(temporary, (old, old))
    store.require_writable()
    assert not temporary.exists()


def test_what_was_verified_is_read_again_once_it_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "SETTLED_S", 0.1)
    path = store.write("a", [failed_row()], metadata={"status": "ok"})
    before = time.time() - 3600
    os.utime(path, (before, before))
    while not parts_module.is_settled(parts_module.file_version(path) or ()):
        time.sleep(0.05)
    assert store.has("a")
    store.metadata("a")["status"] = "changed by a reader"
    assert store.metadata("a")["status"] == "ok"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, (before, before))
    assert not store.has("a")
    store.write("a", [failed_row()], metadata={"status": "failed"})
    assert store.metadata("a")["status"] == "failed"


def test_selections_share_the_large_attrs(store: Store) -> None:
    store.write("a", [failed_row()], metadata={"machine": {"cpu": "\x1b[1m"}, "mixers": MIXERS})
    frame = store.read()
    assert frame[frame["value"].isna()].attrs["mixers"] is frame.attrs["mixers"]
    assert frame.attrs["machines"] == [{"cpu": "\\x1b[1m"}]


def test_selections_share_what_the_frame_knows(store: Store) -> None:
    metadata = {"machine": {"cpu": "x"}, "software": {"torch": "2"}, "mixers": MIXERS}
    store.write("a", profile_rows(["dw_conv"], raw=False), metadata=metadata)
    frame = store.read()
    chosen = frame[frame["metric"] == "params"]
    for name in ("machines", "software"):
        assert chosen.attrs[name] == frame.attrs[name] != []
        assert chosen.attrs[name][0] is frame.attrs[name][0], "pandas would copy it with every selection"
    assert chosen.attrs["mixers"] is frame.attrs["mixers"]
