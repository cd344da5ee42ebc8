"""Parts of older schema versions are read as if this version had written them:

| version | what changed                                                                        |
|---------|-------------------------------------------------------------------------------------|
| 2       | `resolution` is text; it was the side of a square, null for any other rectangle     |
| 3       | status `wide` is now `imprecise`, `not resolved` is now `inconclusive`              |
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from stmbench.tables.labels import size_text

RENAMED_STATUSES: Final = {"wide": "imprecise", "not resolved": "inconclusive"}
_SHAPE: Final = re.compile(r":3x(\d+)x(\d+)$")  # at the end of a profile's data set name: 'noise:3x32x64'


def migrated(table: pa.Table, version: int) -> pa.Table:
    """A part of schema `version` with the columns and words of this version; what is damaged is left as it is."""
    if version < 2:
        table = _with_resolution_text(table)
    if version < 3:
        table = _with_renamed_statuses(table)
    return table


def _with_resolution_text(table: pa.Table) -> pa.Table:
    index = table.schema.get_field_index("resolution")
    if index < 0 or table.schema.field(index).type != pa.int64():
        return table
    names = table["dataset"].to_pylist() if "dataset" in table.schema.names else [None] * table.num_rows
    texts = [_text_of(side, name) for side, name in zip(table["resolution"].to_pylist(), names, strict=True)]
    return table.set_column(index, pa.field("resolution", pa.string()), pa.array(texts, pa.string()))


def _text_of(side: int | None, dataset: str | None) -> str | None:
    if side is not None:
        return str(side)
    shape = _SHAPE.search(dataset or "")
    return None if shape is None else size_text(int(shape[1]), int(shape[2]))


def _with_renamed_statuses(table: pa.Table) -> pa.Table:
    index = table.schema.get_field_index("status")
    if index < 0 or table.schema.field(index).type != pa.string():
        return table
    column = table["status"]
    for old, new in RENAMED_STATUSES.items():
        column = pc.if_else(pc.equal(column, old), new, column)
    return table.set_column(index, table.schema.field(index), column)
