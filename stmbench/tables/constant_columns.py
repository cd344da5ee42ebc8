"""Rows of a small Parquet file in a fraction of the time: a column of one value is made of it, not read.

Most columns of a part are such (model, data set, seed, or nothing at all), and decoding a column costs as much for one
value as for many. The file's statistics say which they are. Floats are always read unless they are missing, as
statistics leave out NaN; so are times.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def read_columns(file: pq.ParquetFile, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """These columns, in the order of the schema, which is the file's.

    The file has to be known to be as it was written: what is not read is not checked.
    """
    places = [place for place, name in enumerate(schema.names) if name in columns]
    fields = [schema.field(place) for place in places]
    constant = _constants(file.metadata, schema, places)
    rest = [place for place in places if place not in constant]
    rows = file.metadata.num_rows
    read = iter(file.reader.read_all(column_indices=rest, use_threads=False).columns if rest else ())
    arrays = [
        _repeated(field.type, constant[place], rows) if place in constant else next(read)
        for place, field in zip(places, fields, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _constants(metadata: pq.FileMetaData, schema: pa.Schema, places: Sequence[int]) -> dict[int, Any]:
    """Place of a column -> the one value that it has; None if all are missing."""
    if metadata.num_row_groups != 1:
        return {}
    rows, column, found = metadata.num_rows, metadata.row_group(0).column, dict[int, Any]()
    for place in places:
        statistics = column(place).statistics
        if statistics is None or not statistics.has_null_count:
            continue
        if statistics.null_count == rows:
            found[place] = None
        elif statistics.null_count == 0 and statistics.has_min_max and _is_exact(schema.field(place).type):
            value = statistics.min
            if value == statistics.max:
                found[place] = value
    return found


@functools.cache
def _is_exact(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


@functools.lru_cache(maxsize=2**14)
def _repeated(kind: pa.DataType, value: Any, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), rows)
