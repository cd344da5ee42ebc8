"""The column `resolution`: squares and other rectangles, in new parts and in those of the first schema."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stmbench.errors import TableError
from stmbench.tables import Store
from stmbench.tables.parts import VERSION_KEY
from tests.tables.frames import profile_rows
from tests.tables.unsealed import unsealed

ROWS = [
    dataclasses.replace(row, resolution=size, dataset=f"noise:3x{shape}")
    for row, size, shape in zip(profile_rows(["dw_conv"]), ((224, 224), (32, 64)), ("224x224", "32x64"), strict=False)
]


@pytest.mark.parametrize(
    ("given", "held"), [(224, "224"), (np.int64(224), "224"), ((32, 64), "32x64"), ((7, 7), "7"), ("32x64", "32x64")]
)
def test_a_row_holds_height_x_width_in_words(given: object, held: str) -> None:
    assert dataclasses.replace(ROWS[0], resolution=given).resolution == held


@pytest.mark.parametrize("words", ["large", "224x", "3x32x64", ""])
def test_words_that_are_no_size_are_refused(words: str) -> None:
    with pytest.raises(TableError, match="expected resolution as 224 or 32x64, got"):
        dataclasses.replace(ROWS[0], resolution=words)


def test_rectangles_come_back_from_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("a", ROWS, metadata={})
    assert store.read()["resolution"].tolist() == ["224", "32x64"]


def test_a_store_of_the_first_schema_reads_as_if_it_were_new(tmp_path: Path) -> None:
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
