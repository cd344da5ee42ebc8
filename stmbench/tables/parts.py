"""One Parquet part: rows of one unit of work with their metadata, written at once or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import OutputError, TableError
from stmbench.tables.schema import SCHEMA, SCHEMA_VERSION, Type
from stmbench.tables.writing import replacing

VERSION_KEY, METADATA_KEY = b"stmbench.schema_version", b"stmbench.metadata"

_ARROW: dict[Type, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", "UTC"),
}
ARROW_SCHEMA = pa.schema([(column.name, _ARROW[column.type]) for column in SCHEMA])


class UnreadablePart(NamedTuple):
    """A part that was skipped: its file name and why. Removing the file (or running again) mends the store."""

    part: str
    reason: str


def write_part(path: Path, frame: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Write a checked frame atomically: a temporary file in the same folder, fsync, rename."""
    try:
        text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TableError("metadata that JSON can hold", str(error), "give text, numbers, lists and dicts") from error
    table = pa.Table.from_pandas(frame, schema=ARROW_SCHEMA, preserve_index=False)
    table = table.replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION), METADATA_KEY: text})
    try:
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "free space or choose another") from error


def read_part(path: Path) -> tuple[pa.Table, dict[str, Any]] | UnreadablePart:
    """The part's rows and metadata, or why it cannot be read. Raises TableError for another or newer schema."""
    try:
        # one buffer, no per-file thread pool: a store holds thousands of small parts
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        return UnreadablePart(path.name, _short(error))
    metadata = _metadata(path, table.schema)
    if isinstance(metadata, dict) and not table.schema.equals(ARROW_SCHEMA):
        _refuse(path, table.schema)
    return metadata if isinstance(metadata, UnreadablePart) else (table, metadata)


def read_metadata(path: Path) -> dict[str, Any] | UnreadablePart:
    """The part's metadata alone, from its footer. Raises TableError for a newer schema."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        return UnreadablePart(path.name, _short(error))
    return _metadata(path, schema)


def _metadata(path: Path, schema: pa.Schema) -> dict[str, Any] | UnreadablePart:
    stored = schema.metadata or {}
    if VERSION_KEY not in stored:
        return UnreadablePart(path.name, "a Parquet file that stmbench did not write")
    try:
        version, metadata = int(stored[VERSION_KEY]), json.loads(stored[METADATA_KEY])
    except (KeyError, ValueError):
        return UnreadablePart(path.name, "its metadata is damaged")
    if version > SCHEMA_VERSION:
        raise TableError(
            f"schema version {SCHEMA_VERSION} or older", f"version {version} in {path.name}", "update stmbench"
        )
    if not isinstance(metadata, dict):
        return UnreadablePart(path.name, "its metadata is damaged")
    return metadata


def _refuse(path: Path, schema: pa.Schema) -> None:
    for field in ARROW_SCHEMA:
        index = schema.get_field_index(field.name)
        if index < 0:
            raise TableError(f"the column {field.name!r} in {path.name}", "none", "measure this unit again (--fresh)")
        if schema.field(index).type != field.type:
            raise TableError(
                f"{field.name} as {field.type} in {path.name}",
                str(schema.field(index).type),
                "measure this unit again (--fresh)",
            )
    unknown = [name for name in schema.names if name not in ARROW_SCHEMA.names]
    got = f"an unknown column {unknown[0]!r}" if unknown else "another order of columns"
    raise TableError(f"the schema's columns in {path.name}", got, "measure this unit again (--fresh)")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
