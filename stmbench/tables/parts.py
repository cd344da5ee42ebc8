"""One Parquet part: the rows of one unit of work and their metadata, written as a whole or not at all.

Parts of older schema versions are read as if this version had written them:

| version | what changed                                                                        |
|---------|-------------------------------------------------------------------------------------|
| 2       | `resolution` is text; it was the side of a square, null for any other rectangle     |
| 3       | status `wide` is now `imprecise`, `not resolved` is now `inconclusive`              |
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stmbench.errors import OutputError, TableError
from stmbench.tables.files import SEAL_KEY, is_intact, is_sealed, metadata_fault, replacing, sealed
from stmbench.tables.labels import size_text
from stmbench.tables.schema import SCHEMA, SCHEMA_VERSION, Type, check

VERSION_KEY, METADATA_KEY = b"stmbench.schema_version", b"stmbench.metadata"

_ARROW: dict[Type, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", "UTC"),
}
ARROW_SCHEMA = pa.schema([(column.name, _ARROW[column.type]) for column in SCHEMA])
_PANDAS = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
RENAMED_STATUSES: Final = {"wide": "imprecise", "not resolved": "inconclusive"}
_SHAPE: Final = re.compile(r":3x(\d+)x(\d+)$")  # at the end of a profile's data set name: 'noise:3x32x64'
DAMAGED = "its metadata is damaged"


READERS: Final = 8  # threads; parts are bound by system calls and decompression, both outside the interpreter lock
Part = tuple[pa.Table, dict[str, Any]]  # rows, metadata


class UnreadablePart(NamedTuple):
    """A part, or an artifact, that was skipped: its file name and the reason. Running again repairs the store."""

    part: str
    reason: str


class _OpenPart(NamedTuple):
    """A part whose rows can be read."""

    file: pq.ParquetFile
    version: int  # of the schema
    metadata: dict[str, Any]


def write_part(path: Path, frame: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Write a checked frame, sealed, atomically: a temporary file in the same folder, fsync, rename."""
    try:
        text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TableError("metadata that JSON can hold", str(error), "give text, numbers, lists and dicts") from error
    table = pa.Table.from_pandas(frame, schema=ARROW_SCHEMA, preserve_index=False)
    table = table.replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION), METADATA_KEY: text})
    try:
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            file.write(sealed(table))
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "free space or choose another") from error


def read_part(path: Path) -> Part | UnreadablePart:
    """The part's rows and metadata, or why it cannot be read. Raises TableError for a newer schema.

    Parts without a seal, from older versions, are read too; damage to them is found only where bytes, columns or words
    reveal it.
    """
    part = _open(path)
    if isinstance(part, UnreadablePart):
        return part
    try:
        table = _migrated(part.file.read(use_threads=False), part.version)
    except Exception as error:  # damaged bytes can stop the reader anywhere
        return UnreadablePart(path.name, _short(error))
    fault = _column_fault(table.schema)
    return (table, part.metadata) if fault is None else UnreadablePart(path.name, fault)


def read_metadata(path: Path) -> dict[str, Any] | UnreadablePart:
    """The part's metadata alone, or why its rows cannot be read. Raises TableError for a newer schema."""
    part = _open(path)
    if isinstance(part, UnreadablePart):
        return part
    schema = part.file.schema_arrow
    fault = _column_fault(_migrated(schema.empty_table(), part.version).schema)
    if fault is not None:
        return UnreadablePart(path.name, fault)
    if SEAL_KEY not in schema.metadata:  # only its rows can tell
        rows = read_part(path)
        frame = rows if isinstance(rows, UnreadablePart) else frame_of_part(path, rows[0])
        return frame if isinstance(frame, UnreadablePart) else part.metadata
    return part.metadata


def read_parts(files: Sequence[Path], where: str) -> tuple[pd.DataFrame, list[Part | UnreadablePart]]:
    """The rows of all readable parts, sorted by time, as a checked frame; and what each file holds."""
    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(read_part, files))
    try:
        return _concatenated(parts, where), parts
    except Exception:  # a part of an older version, without a seal: find out which
        parts = [_checked(file, part) for file, part in zip(files, parts, strict=True)]
        return _concatenated(parts, where), parts


def _concatenated(parts: Sequence[Part | UnreadablePart], where: str) -> pd.DataFrame:
    good = [part[0].replace_schema_metadata(None) for part in parts if not isinstance(part, UnreadablePart)]
    frame = to_frame(pa.concat_tables(good or [ARROW_SCHEMA.empty_table()]))
    return check(frame.sort_values("created_utc", kind="stable", ignore_index=True), where)


def _checked(file: Path, part: Part | UnreadablePart) -> Part | UnreadablePart:
    """The part, or how its rows violate the schema."""
    if isinstance(part, UnreadablePart):
        return part
    frame = frame_of_part(file, part[0])
    return frame if isinstance(frame, UnreadablePart) else part


def frame_of_part(path: Path, table: pa.Table) -> pd.DataFrame | UnreadablePart:
    """The rows as a checked frame, or how they violate the schema."""
    try:
        return check(to_frame(table), path.name)
    except Exception as error:  # text that is not UTF-8, times out of range
        return UnreadablePart(path.name, _short(error))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Rows with the columns' pandas dtypes, unchecked."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS.get)
    return frame


def _open(path: Path) -> _OpenPart | UnreadablePart:
    """The part's file and metadata; a sealed file is verified first."""
    try:
        if not path.is_file():
            return UnreadablePart(path.name, "no file")
        # one buffer, no per-file thread pool: a store holds thousands of small parts
        data = path.read_bytes()
        has_seal = is_sealed(data)
        if has_seal and not is_intact(data):
            return UnreadablePart(path.name, "other bytes than were written")
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        stored = file.schema_arrow.metadata or {}
    except Exception as error:  # damaged bytes can stop the reader anywhere
        return UnreadablePart(path.name, _short(error))
    if VERSION_KEY not in stored:
        return UnreadablePart(path.name, "a Parquet file that stmbench did not write")
    try:
        version, metadata = int(stored[VERSION_KEY]), json.loads(stored[METADATA_KEY])
    except (KeyError, ValueError, RecursionError):
        return UnreadablePart(path.name, DAMAGED)
    if version > SCHEMA_VERSION:
        if not has_seal:  # every newer version seals its parts
            return UnreadablePart(path.name, DAMAGED)
        raise TableError(
            f"schema version {SCHEMA_VERSION} or older", f"version {version} in {path.name}", "update stmbench"
        )
    fault = metadata_fault(metadata)
    return _OpenPart(file, version, metadata) if fault is None else UnreadablePart(path.name, f"{DAMAGED}: {fault}")


def _column_fault(schema: pa.Schema) -> str | None:
    """How a part's columns differ from the table's; None if they do not."""
    for field in ARROW_SCHEMA:
        index = schema.get_field_index(field.name)
        if index < 0:
            return f"expected the column {field.name!r}, got none"
        if schema.field(index).type != field.type:
            return f"expected {field.name} as {field.type}, got {schema.field(index).type}"
    unknown = [name for name in schema.names if name not in ARROW_SCHEMA.names]
    if unknown:
        return f"expected the table's columns, got an unknown one, {unknown[0]!r}"
    return None if schema.names == ARROW_SCHEMA.names else "expected the table's order of columns, got another"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _migrated(table: pa.Table, version: int) -> pa.Table:
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
