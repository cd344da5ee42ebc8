"""Bytes that changed after they were written: nothing reads them as other values, and what they held is made again."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from stmbench.errors import OutputError, TableError
from stmbench.tables import Store, files
from stmbench.tables.files import write_arrays
from stmbench.tables.parts import METADATA_KEY
from tests.tables.frames import MIXERS, failed_row, profile_rows
from tests.tables.unsealed import unseal, unsealed

FLIPS = 1000
CUTS = 80


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two units, one of them with an artifact."""
    made = Store(tmp_path / "D").require_writable()
    made.write("other", [failed_row()], metadata={})
    path = made.artifact("k", "maps.npz")
    write_arrays(path, {"map": [[0.25, 0.5], [0.75, 1.0]]})
    rows = profile_rows(["halo_attn", "dw_conv"], raw=False)
    drawn = dataclasses.replace(rows[-1], metric="affinity_map", value=None, artifact=made.place(path))
    made.write("k", [*rows, drawn], metadata={"commit": "abc", "mixers": MIXERS, "status": "ok"})
    return made


def _flips(data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    draw = random.Random(11)
    for _ in range(count):
        place = draw.randrange(8 * len(data))
        changed = bytearray(data)
        changed[place // 8] ^= 1 << (place % 8)
        yield place, bytes(changed)


@pytest.mark.slow
def test_no_flipped_bit_of_a_part_is_read_as_a_value(store: Store) -> None:
    """Of the whole file, footer and seal included: always named, never done, never another value."""
    path = store.parts / "k.parquet"
    whole = path.read_bytes()
    for place, changed in _flips(whole, FLIPS):
        path.write_bytes(changed)
        assert not store.has("k"), place
        assert store.keys() == ["other"]
        fault = store.fault("k")
        assert str(fault).startswith("k.parquet: "), place
        if place % 40 == 0:  # what `read` tells of it, at some of the places
            frame = store.read()
            assert len(frame) == 1
            assert [part.part for part in frame.attrs["unreadable"]] == ["k.parquet"]
    path.write_bytes(whole)
    assert store.has("k")


@pytest.mark.slow
def test_no_flipped_bit_of_an_artifact_is_read(store: Store) -> None:
    path = store.parts / "k.maps.npz"
    expected = store.read()
    values = expected["value"].dropna().tolist()
    assert expected["artifact"].notna().sum() == 1
    for place, changed in _flips(path.read_bytes(), FLIPS // 5):
        path.write_bytes(changed)
        assert not store.has("k"), place
        assert store.fault("k") == "parts/k.maps.npz: other bytes than were written"
        if place % 10 == 0:
            frame = store.read()
            assert frame["artifact"].isna().all()
            assert frame["value"].dropna().tolist() == values
            assert [part.part for part in frame.attrs["unreadable"]] == ["k.maps.npz"]


@pytest.mark.parametrize("name", ["k.parquet", "k.maps.npz"])
def test_truncation_at_any_byte_is_found(store: Store, name: str) -> None:
    path = store.parts / name
    whole = path.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // CUTS)):
        path.write_bytes(whole[:end])
        assert not store.has("k"), end
        if end % 5 == 0:
            assert [part.part for part in store.read().attrs["unreadable"]] == [name]
    path.unlink()
    assert not store.has("k")


def test_older_part_is_read_and_its_damage_named(store: Store) -> None:
    """Without a seal, a flipped bit either leaves the values as they are or is found by whoever reads: no exception."""
    path = store.parts / "k.parquet"
    expected = store.read()
    unseal(path)
    assert store.has("k")
    pd.testing.assert_frame_equal(store.read(), expected)
    for place, changed in _flips(path.read_bytes(), 30):
        path.write_bytes(changed)
        frame = store.read()
        named = [part.part for part in frame.attrs["unreadable"]] == ["k.parquet"]
        assert named == (len(frame) == 1), place
        assert store.has("k") == (not named), place
    (store.parts / "k.maps.npz").unlink()
    unseal(store.write("k", [failed_row()], metadata={}))
    assert store.has("k")


def test_older_part_without_its_artifact_is_not_done(store: Store) -> None:
    unseal(store.parts / "k.parquet")
    (store.parts / "k.maps.npz").write_bytes(b"")
    assert not store.has("k")
    (store.parts / "k.maps.npz").unlink()
    assert not store.has("k")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (3, "3"),
        ({"mixers": 3}, "mixers is 3"),
        ({"mixers": {"dw_conv": 3}}, "mixers is {'dw_conv': 3}"),
        ({"warnings": "x"}, "warnings is 'x'"),
        ({"warnings": [1]}, "warnings is [1]"),
        ({"machine": []}, "machine is []"),
        ({"commit": 7}, "commit is 7"),
        ({"disturbances": [{"kind": "load"}]}, "disturbances is [{'kind': 'load'}]"),
        ({"artifacts": {"a": {"bytes": "1"}}}, "artifacts is {'a': {'bytes': '1'}}"),
    ],
)
def test_metadata_of_another_form(store: Store, metadata: Any, words: str) -> None:
    """A stranger's part: named, never an exception; and no part of ours is written so."""
    table = unsealed(store.parts / "k.parquet")
    stored = {**table.schema.metadata, METADATA_KEY: json.dumps(metadata)}
    (store.parts / "k.parquet").write_bytes(files.sealed(table.replace_schema_metadata(stored)))
    frame = store.read()
    assert [tuple(part) for part in frame.attrs["unreadable"]] == [
        ("k.parquet", f"its metadata is damaged: {words}"),
    ]
    assert not store.has("k")
    if isinstance(metadata, dict) and "artifacts" not in metadata:
        with pytest.raises(TableError, match="metadata of the documented types"):
            store.write("k", [failed_row()], metadata=metadata)


@pytest.mark.parametrize("column", ["status", "unit", "kind"])
def test_rows_that_break_the_schema_do_not_take_the_others_with_them(store: Store, column: str) -> None:
    table = unsealed(store.parts / "k.parquet")
    place = table.schema.get_field_index(column)
    words = ["nonsense"] * len(table)
    pq.write_table(table.set_column(place, table.schema.field(place), [words]), store.parts / "k.parquet")
    frame = store.read()
    assert len(frame) == 1
    assert [part.part for part in frame.attrs["unreadable"]] == ["k.parquet"]
    assert not store.has("k")


def test_a_part_is_parquet_for_any_reader(store: Store) -> None:
    table = pq.read_table(store.parts / "k.parquet", page_checksum_verification=True)
    assert table.column("value").to_pylist()[0] == 96e9
    assert files.SEAL_KEY in table.schema.metadata


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_between_an_artifact_and_its_part(store: Store, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """The artifact is new and the part old: the rows stay, without the artifact, and the unit is made again."""
    values = store.read(["k"])["value"].dropna().tolist()
    write_arrays(store.artifact("k", "maps.npz"), {"map": [[1.0, 0.5], [0.75, 0.25]]})
    replace = os.replace

    def killed(*places: Any) -> None:
        if when == "after":
            replace(*places)
        raise KeyboardInterrupt

    row = dataclasses.replace(failed_row(), artifact="parts/k.maps.npz")
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write("k", [row], metadata={"status": "ok"})
    monkeypatch.undo()
    frame = store.read(["k"])
    if when == "after":
        assert store.has("k")
        assert frame["artifact"].tolist() == ["parts/k.maps.npz"]
    else:
        assert not store.has("k")
        assert frame["value"].dropna().tolist() == values
        assert frame["artifact"].isna().all()


def test_a_full_disk_loses_nothing(store: Store) -> None:
    """Whatever the size at which the disk is full, the older part stays as it is."""
    before, frame = (store.parts / "k.parquet").read_bytes(), store.read()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for size in (0, 1, 4096, len(before) // 2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            with pytest.raises(OutputError, match="free space or choose another"):
                store.write("k", profile_rows(["dw_conv", "sw_attn"]), metadata={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (store.parts / "k.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(store.read(), frame)
    assert not list(store.parts.glob(".*"))
