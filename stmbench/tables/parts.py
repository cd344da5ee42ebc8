"""One Parquet part: the rows of one unit of work and their metadata, written as a whole or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import OutputError, TableError
from stmbench.tables.constant_columns import read_columns
from stmbench.tables.files import is_intact, is_sealed, metadata_fault, replacing, sealed
from stmbench.tables.footers import texts_in_footer
from stmbench.tables.migration import migrated
from stmbench.tables.remembered import RememberedTexts
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
DAMAGED, NO_FILE = "its metadata is damaged", "no file"


READERS: Final = 8  # threads that read files; decoding a small part holds the interpreter lock
AHEAD: Final = 256  # files
SETTLED_S: Final = 2.0
_VERIFIED: Final = RememberedTexts()  # metadata as JSON
Part = tuple[pa.Table, dict[str, Any]]  # rows, metadata


class UnreadablePart(NamedTuple):
    """A part, or an artifact, that was skipped: its file name and the reason. Running again repairs the store."""

    part: str
    reason: str


def is_missing(part: object) -> bool:
    """Whether there was no file to read."""
    return isinstance(part, UnreadablePart) and part.reason == NO_FILE


class _OpenPart(NamedTuple):
    """A part whose rows can be read."""

    file: pq.ParquetFile
    schema: pa.Schema
    version: int  # of the schema
    metadata: dict[str, Any]
    is_sealed: bool


def write_part(path: Path, frame: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Write a checked frame, sealed, atomically: a temporary file in the same folder, fsync, rename."""
    table = pa.Table.from_pandas(frame, schema=ARROW_SCHEMA, preserve_index=False)
    try:
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            file.write(part_bytes(table, metadata))
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "free space or choose another") from error


def part_bytes(table: pa.Table, metadata: Mapping[str, Any]) -> bytes:
    """Rows and metadata as a part's sealed file. Raises TableError for metadata that JSON cannot hold."""
    try:
        text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TableError("metadata that JSON can hold", str(error), "give text, numbers, lists and dicts") from error
    return sealed(table.replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION), METADATA_KEY: text}))


def read_part(path: Path, columns: Sequence[str] | None = None) -> Part | UnreadablePart:
    """The part's rows and metadata, or why it cannot be read. Raises TableError for a newer schema.

    Parts without a seal, from older versions, are read too; damage to them is found only where bytes, columns or words
    reveal it.

    Args:
        columns: the ones to read, in the table's order; default: all.
    """
    return _rows(path, _content(path), columns)


def _rows(path: Path, content: bytes | UnreadablePart, columns: Sequence[str] | None) -> Part | UnreadablePart:
    part = _open(path, content)
    if isinstance(part, UnreadablePart):
        return part
    is_current = part.is_sealed and part.version == SCHEMA_VERSION
    if is_current and (fault := _column_fault(part.schema)) is not None:
        return UnreadablePart(path.name, fault)
    try:
        if is_current:
            chosen = ARROW_SCHEMA.names if columns is None else columns
            return read_columns(part.file, ARROW_SCHEMA, chosen), part.metadata
        table = migrated(part.file.read(use_threads=False), part.version)
    except Exception as error:  # damaged bytes can stop the reader anywhere
        return UnreadablePart(path.name, _short(error))
    if (fault := _column_fault(table.schema)) is not None:
        return UnreadablePart(path.name, fault)
    if columns is None:
        return table, part.metadata
    faulty = frame_of_part(path.name, table)
    return faulty if isinstance(faulty, UnreadablePart) else (table.select(columns), part.metadata)


def file_version(path: Path) -> tuple[int, ...] | None:
    """Size, times and inode: what changes when a file is replaced or written to; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def is_settled(version: tuple[int, ...]) -> bool:
    """Whether a further change would show: a file's times are too coarse to tell two within a tick apart."""
    return abs(time.time() - version[2] / 1e9) > SETTLED_S


def read_metadata(path: Path) -> dict[str, Any] | UnreadablePart:
    """The part's metadata alone, or why its rows cannot be read. Raises TableError for a newer schema.

    What was verified is remembered for as long as the file is not written, as a unit is asked for several times.
    """
    name, version = os.fspath(path), file_version(path)
    if (known := _VERIFIED.get(name, version)) is not None:
        return dict(json.loads(known))
    found = _metadata_of(path)
    if version is not None and is_settled(version) and not isinstance(found, UnreadablePart):
        _VERIFIED.keep(name, version, json.dumps(found).encode())
    return found


def _metadata_of(path: Path) -> dict[str, Any] | UnreadablePart:
    content = _content(path)
    known = None if isinstance(content, UnreadablePart) else _metadata_in(content)
    if known is not None:
        return known
    part = _open(path, content)
    if isinstance(part, UnreadablePart):
        return part
    fault = _column_fault(migrated(part.schema.empty_table(), part.version).schema)
    if fault is not None:
        return UnreadablePart(path.name, fault)
    if not part.is_sealed:  # only its rows can tell
        rows = read_part(path)
        frame = rows if isinstance(rows, UnreadablePart) else frame_of_part(path.name, rows[0])
        return frame if isinstance(frame, UnreadablePart) else part.metadata
    return part.metadata


def _metadata_in(data: bytes) -> dict[str, Any] | None:
    """The metadata of an intact part of this schema version; None: decode the file, to know what it is."""
    texts = texts_in_footer(data, ARROW_SCHEMA, [VERSION_KEY, METADATA_KEY])
    try:
        if texts is None or int(texts[0]) != SCHEMA_VERSION:
            return None
        metadata = json.loads(texts[1])
    except (ValueError, RecursionError):
        return None
    return metadata if metadata_fault(metadata) is None else None


def read_each(files: Sequence[Path], columns: Sequence[str] | None = None) -> list[Part | UnreadablePart]:
    """`read_part` of each file."""
    with ThreadPoolExecutor(READERS) as pool:
        blocks = [files[start : start + AHEAD] for start in range(0, len(files), AHEAD)]
        # a block at a time: otherwise reading outruns decoding by the whole store
        contents = (pair for block in blocks for pair in zip(block, pool.map(_content, block), strict=True))
        return [_rows(path, content, columns) for path, content in contents]


def joined(
    names: Sequence[str], parts: Sequence[Part | UnreadablePart], where: str, columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[Part | UnreadablePart]]:
    """The rows of all readable parts, sorted by time, as a checked frame; and the parts, the faulty ones named.

    Of single columns there is nothing to check: what was written was checked, and is read as it was written.
    """
    if columns is not None:
        return _sorted(parts, pa.schema([ARROW_SCHEMA.field(name) for name in columns])), list(parts)
    try:
        return _concatenated(parts, where), list(parts)
    except Exception:  # a part of an older version, without a seal: find out which
        checked = [_checked(name, part) for name, part in zip(names, parts, strict=True)]
        return _concatenated(checked, where), checked


def _concatenated(parts: Sequence[Part | UnreadablePart], where: str) -> pd.DataFrame:
    return check(_sorted(parts, ARROW_SCHEMA), where)


def _sorted(parts: Sequence[Part | UnreadablePart], schema: pa.Schema) -> pd.DataFrame:
    good = [part[0].replace_schema_metadata(None) for part in parts if not isinstance(part, UnreadablePart)]
    frame = to_frame(pa.concat_tables([schema.empty_table(), *good]).combine_chunks())  # whole columns convert faster
    return frame.sort_values("created_utc", kind="stable", ignore_index=True)


def _checked(name: str, part: Part | UnreadablePart) -> Part | UnreadablePart:
    """The part, or how its rows violate the schema."""
    if isinstance(part, UnreadablePart):
        return part
    frame = frame_of_part(name, part[0])
    return frame if isinstance(frame, UnreadablePart) else part


def frame_of_part(name: str, table: pa.Table) -> pd.DataFrame | UnreadablePart:
    """The rows as a checked frame, or how they violate the schema."""
    try:
        return check(to_frame(table), name)
    except Exception as error:  # text that is not UTF-8, times out of range
        return UnreadablePart(name, _short(error))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Rows with the columns' pandas dtypes, unchecked."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS.get)
    return frame


def _content(path: Path) -> bytes | UnreadablePart:
    try:
        return path.read_bytes() if path.is_file() else UnreadablePart(path.name, NO_FILE)
    except FileNotFoundError:  # merged or removed since
        return UnreadablePart(path.name, NO_FILE)
    except OSError as error:
        return UnreadablePart(path.name, _short(error))


def _open(path: Path, data: bytes | UnreadablePart) -> _OpenPart | UnreadablePart:
    """The part's file and metadata; a sealed file is verified first."""
    if isinstance(data, UnreadablePart):
        return data
    try:
        # one buffer, no per-file thread pool: a store holds thousands of small parts
        has_seal = is_sealed(data)
        if has_seal and not is_intact(data):
            return UnreadablePart(path.name, "other bytes than were written")
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        schema = file.schema_arrow
        stored = schema.metadata or {}
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
    if fault is not None:
        return UnreadablePart(path.name, f"{DAMAGED}: {fault}")
    return _OpenPart(file, schema, version, metadata, has_seal)


def _column_fault(schema: pa.Schema) -> str | None:
    """How a part's columns differ from the table's; None if they do not."""
    if schema.equals(ARROW_SCHEMA):
        return None
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
