"""Parts of older schema versions read as if this version had written them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stmbench.tables import Store, files
from stmbench.tables.parts import VERSION_KEY
from stmbench.tables.rows import csv_text
from tests.tables.frames import profile_rows
from tests.tables.unsealed import unsealed

ROWS = [
    dataclasses.replace(row, resolution=size, dataset=f"noise:3x{shape}")
    for row, size, shape in zip(profile_rows(["dw_conv"]), ((224, 224), (32, 64)), ("224x224", "32x64"), strict=False)
]


def test_rectangles_come_back_from_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("a", ROWS, metadata={})
    assert store.read()["resolution"].tolist() == ["224", "32x64"]


def test_a_resolution_of_version_1_becomes_text(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [*ROWS, dataclasses.replace(ROWS[1], dataset="photos:1234")]
    path = store.write("a", rows, metadata={"status": "ok"})
    table = unsealed(path)
    index = table.schema.get_field_index("resolution")
    sides = pa.array([224, None, None], pa.int64())
    first = table.set_column(index, pa.field("resolution", pa.int64()), sides)
    pq.write_table(first.replace_schema_metadata({**table.schema.metadata, VERSION_KEY: b"1"}), path)
    frame = Store(tmp_path).read()
    assert frame.attrs["unreadable"] == []
    assert frame["resolution"].fillna("none").tolist() == ["224", "32x64", "none"]
    assert Store(tmp_path).has("a")
    assert Store(tmp_path).metadata("a")["status"] == "ok"


def _as_version(path: Path, version: int, statuses: list[str], *, sealed: bool) -> None:
    """Rewrite a part as that version wrote it, with these statuses."""
    table = unsealed(path)
    index = table.schema.get_field_index("status")
    table = table.set_column(index, table.schema.field(index), pa.array(statuses, pa.string()))
    if version == 1:
        index = table.schema.get_field_index("resolution")
        sides = pa.array([224] * table.num_rows, pa.int64())
        table = table.set_column(index, pa.field("resolution", pa.int64()), sides)
    table = table.replace_schema_metadata({**table.schema.metadata, VERSION_KEY: str(version).encode()})
    if sealed:
        path.write_bytes(files.sealed(table))
    else:
        pq.write_table(table, path)


@pytest.mark.parametrize(("version", "sealed"), [(1, False), (2, False), (2, True)])
def test_statuses_of_versions_1_and_2_have_todays_words(tmp_path: Path, version: int, sealed: bool) -> None:
    store = Store(tmp_path)
    old = ["wide", "not resolved", "ok", "failed", "skipped", "suspect"]
    rows = [dataclasses.replace(ROWS[0], status="ok", reason="because") for _ in old]
    _as_version(store.write("a", rows, metadata={}), version, old, sealed=sealed)
    expected = ["imprecise", "inconclusive", "ok", "failed", "skipped", "suspect"]
    assert store.has("a")
    frame = store.read()
    assert frame.attrs["unreadable"] == []
    assert frame["status"].tolist() == expected
    shown = csv_text(frame)
    assert ",imprecise," in shown
    assert ",inconclusive," in shown
    assert "not resolved" not in shown


def test_a_new_part_has_version_3_and_no_old_words(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write("a", ROWS, metadata={})
    assert pq.read_schema(path).metadata[VERSION_KEY] == b"3"
    _as_version(path, 3, ["wide"] * len(ROWS), sealed=True)
    [(part, reason)] = store.read().attrs["unreadable"]
    assert part == "a.parquet"
    assert "status in a.parquet to be one of ok, failed, skipped, imprecise, inconclusive" in reason
