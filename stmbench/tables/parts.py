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
from stmbench.tables import seal
from stmbench.tables.metadata import fault_in
from stmbench.tables.schema import SCHEMA, SCHEMA_VERSION, Type, check
from stmbench.tables.sides import upgraded
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
_PANDAS = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
DAMAGED = "its metadata is damaged"


class UnreadablePart(NamedTuple):
    """A part, or an artifact, that was skipped: its file name and why. Running again mends the store."""

    part: str
    reason: str


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
            file.write(seal.sealed(table))
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "free space or choose another") from error


def read_part(path: Path) -> tuple[pa.Table, dict[str, Any]] | UnreadablePart:
    """The part's rows and metadata, or why it cannot be read. Raises TableError for a newer schema.

    A part without a seal, of an older version, is read too; what is not as that version wrote it is found where the
    bytes, the columns or the words show it.
    """
    found = _open(path)
    if isinstance(found, UnreadablePart):
        return found
    file, metadata = found
    try:
        table = upgraded(file.read(use_threads=False))
    except Exception as error:  # damaged bytes stop the reader anywhere
        return UnreadablePart(path.name, _short(error))
    wrong = _other_columns(table.schema)
    return (table, metadata) if wrong is None else UnreadablePart(path.name, wrong)


def read_metadata(path: Path) -> dict[str, Any] | UnreadablePart:
    """The part's metadata alone, or why its rows cannot be read. Raises TableError for a newer schema."""
    found = _open(path)
    if isinstance(found, UnreadablePart):
        return found
    file, metadata = found
    wrong = _other_columns(upgraded(file.schema_arrow.empty_table()).schema)
    if wrong is None and seal.KEY not in file.schema_arrow.metadata:  # its rows alone can tell
        part = read_part(path)
        frame = part if isinstance(part, UnreadablePart) else frame_of_part(path, part[0])
        return frame if isinstance(frame, UnreadablePart) else metadata
    return metadata if wrong is None else UnreadablePart(path.name, wrong)


def frame_of_part(path: Path, table: pa.Table) -> pd.DataFrame | UnreadablePart:
    """The rows as a checked frame, or why they break the schema."""
    try:
        return check(to_frame(table), path.name)
    except Exception as error:  # text that is no UTF-8, times out of range
        return UnreadablePart(path.name, _short(error))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Rows with the columns' pandas dtypes, unchecked."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS.get)
    return frame


def _open(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]] | UnreadablePart:
    """The part as a file whose rows can be read, with its metadata; sealed bytes are compared with the seal first."""
    try:
        if not path.is_file():
            return UnreadablePart(path.name, "no file")
        # one buffer, no per-file thread pool: a store holds thousands of small parts
        data = path.read_bytes()
        sealed = seal.is_sealed(data)
        if sealed and not seal.is_whole(data):
            return UnreadablePart(path.name, "other bytes than were written")
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        stored = file.schema_arrow.metadata or {}
    except Exception as error:  # damaged bytes stop the reader anywhere
        return UnreadablePart(path.name, _short(error))
    metadata = _metadata(path, stored, sealed=sealed)
    return metadata if isinstance(metadata, UnreadablePart) else (file, metadata)


def _metadata(path: Path, stored: Mapping[bytes, bytes], *, sealed: bool) -> dict[str, Any] | UnreadablePart:
    if VERSION_KEY not in stored:
        return UnreadablePart(path.name, "a Parquet file that stmbench did not write")
    try:
        version, metadata = int(stored[VERSION_KEY]), json.loads(stored[METADATA_KEY])
    except (KeyError, ValueError, RecursionError):
        return UnreadablePart(path.name, DAMAGED)
    if version > SCHEMA_VERSION:
        if not sealed:  # every newer version seals its parts
            return UnreadablePart(path.name, DAMAGED)
        raise TableError(
            f"schema version {SCHEMA_VERSION} or older", f"version {version} in {path.name}", "update stmbench"
        )
    fault = fault_in(metadata)
    return metadata if fault is None else UnreadablePart(path.name, f"{DAMAGED}: {fault}")


def _other_columns(schema: pa.Schema) -> str | None:
    """How a part's columns differ from the table's, in words; None where they do not."""
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
