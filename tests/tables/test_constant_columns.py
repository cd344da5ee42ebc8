"""Columns that are made of their one value are those that the file holds."""

from __future__ import annotations

import datetime
import io
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stmbench.errors import UnknownNameError
from stmbench.tables import COLUMNS, Store
from stmbench.tables.constant_columns import read_columns
from tests.tables.frames import MIXERS, failed_row, profile_rows
from tests.tables.unsealed import unseal

DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
TABLE = pa.table(
    {
        "one": pa.array(["é", "é", "é"]),
        "none": pa.array([None, None, None], pa.string()),
        "some": pa.array(["a", None, "a"]),
        "long": pa.array(["x" * 9000] * 3),
        "empty": pa.array(["", "", ""]),
        "nan": pa.array([1.5, math.nan, 1.5]),
        "float": pa.array([-0.0, 0.0, -0.0]),
        "no float": pa.array([None, None, None], pa.float64()),
        "int": pa.array([7, 7, 7]),
        "two": pa.array([7, 8, 7]),
        "bool": pa.array([True, True, True]),
        "time": pa.array([DAY, DAY, DAY], pa.timestamp("us", "UTC")),
    }
)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("columns", [TABLE.schema.names, ["int", "some"], ["none"], ["two"]], ids=len)
def test_made_and_read_columns_are_the_same(columns: list[str], groups: int) -> None:
    content = io.BytesIO()
    pq.write_table(TABLE, content, row_group_size=3 // groups)
    read = read_columns(pq.ParquetFile(content), TABLE.schema, columns)
    assert read.schema.names == [name for name in TABLE.schema.names if name in columns]
    assert read.to_pylist().__repr__() == TABLE.select(read.schema.names).to_pylist().__repr__()  # NaN and -0.0 too
    assert read.schema == TABLE.select(read.schema.names).schema


@pytest.mark.parametrize("form", ["parts", "merged", "of an older version"])
def test_single_columns_of_a_store(tmp_path: Path, form: str) -> None:
    store = Store(tmp_path).require_writable()
    path = store.artifact("a", "map.npy")
    path.write_bytes(b"x")
    rows = profile_rows(["halo_attn"], raw=False)
    store.write("a", [*rows, *profile_rows(["dw_conv"])], metadata={"mixers": MIXERS, "commit": "abc"})
    store.write("b", [failed_row()], metadata={"machine": {"cpu": "x"}})
    if form == "merged":
        store.compact()
    elif form != "parts":
        unseal(store.parts / "a.parquet")
    whole = store.read()
    for columns in (["value", "model"], ["created_utc"], list(COLUMNS)):
        chosen = store.read(columns=columns)
        pd.testing.assert_frame_equal(chosen, whole[[name for name in COLUMNS if name in columns]])
        assert chosen.attrs == whole.attrs
    with pytest.raises(UnknownNameError, match=r"expected a column, got 'modle'; did you mean model"):
        store.read(columns=["value", "modle"])
    (store.parts / f"{'packed' if form == 'merged' else 'a'}.parquet").write_bytes(b"PAR1")
    (unreadable,) = store.read(columns=["value"]).attrs["unreadable"]
    assert unreadable.part in ("packed.parquet", "a.parquet")
