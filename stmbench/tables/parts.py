"""One Parquet part: rows of one unit of work with their metadata, written at once or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import OutputError, TableError
from stmbench.tables.schema import SCHEMA, SCHEMA_VERSION, Type

VERSION_KEY, METADATA_KEY = b"stmbench.schema_version", b"stmbench.metadata"
STALE_AFTER_S = 24 * 3600.0

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
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "free space or choose another") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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


def temporary_beside(path: Path) -> Path:
    """What to write before it is renamed to `path`.

    The writer's host and process are in the name, so that `sweep` removes files whose writer is gone and no others.
    """
    return path.with_name(f".{path.stem}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def sweep(folder: Path) -> int:
    """Remove temporary files whose writer was killed; returns how many. A live writer's file stays."""
    removed = 0
    for temporary in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if _is_stale(temporary):
                temporary.unlink()
                removed += 1
    return removed


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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


def _is_stale(temporary: Path) -> bool:
    if time.time() - temporary.stat().st_mtime > STALE_AFTER_S:
        return True
    host, _, rest = temporary.name.rsplit(".", 2)[-2].partition("-")
    pid = rest.partition("-")[0]
    return host == _host() and pid.isdigit() and not _is_running(int(pid))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    return "".join(letter for letter in socket.gethostname() if letter.isalnum()) or "host"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
