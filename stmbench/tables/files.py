"""Files of a store: atomic writes, and what reveals damage.

A file is written to a temporary one in the same folder and then renamed, so it appears whole or not at all. What
reveals damage is a part's seal, the types of its metadata, and the hashes of the artifacts that its rows name.

Parquet's own checksums cover pages of values but no header or footer, and a flipped bit there reads back as another
value. The seal is an entry of the file's metadata: the SHA-256 of the whole file, with 64 zeros in the place of the
hash. Any reader of Parquet opens a sealed part as it is, and part and seal appear and move together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import re
import secrets
import socket
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import OutputError, TableError

CHECKPOINTS, PROGRESS = "checkpoints", "progress.json"  # of a store: a folder for each training run; where it stands
Arrays = TypeVar("Arrays", bound="ArrayFile")
LARGE = 2**24  # bytes: of such a file the hash is remembered, as a unit is asked for several times in a run
STALE_AFTER_S = 24 * 3600.0
# .<stem>.<host>-<process>-<random>.tmp: in a user's folder, no file of another program may look like ours
_OURS: Final = re.compile(r"\..+\.(?P<host>[^\W_]+)-(?P<process>\d+)-[0-9a-f]+\.tmp")
_CLEANED: Final = set[Path]()  # folders that this process has written to


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give the block a temporary path to write to; it becomes `path` when the block ends and is removed if it fails.

    Parent folders are created. The temporary file's name holds the writer's host and process, so that
    `remove_stale_temporaries` removes only files whose writer was killed; a process calls it at its first write to a
    folder. A symbolic link stays one: its target is replaced. Devices and pipes are written to directly.

    Args:
        durable: whether to sync the file to disk before the rename.

    Raises:
        OSError: no space, no permission; an older file is left unchanged.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = path.with_name(f".{path.stem}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    clean_once(path.parent)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            with contextlib.suppress(OSError):  # not every system can sync folders
                _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes, *, remedy: str = "choose another place") -> None:
    """Write a file atomically, text as UTF-8. Raises OutputError if that fails."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), remedy) from error


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = True) -> None:
    """Write an .npz atomically. Raises OSError."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """Base of dataclasses whose fields are arrays, kept together in one .npz file.

    Attributes:
        compressed: whether the file is; large arrays of numbers that look random take seconds and lose nothing.
    """

    compressed: ClassVar[bool] = True

    def write(self, path: Path) -> None:
        """Write all fields, at once. Raises OSError."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        write_arrays(path, arrays, compressed=self.compressed)

    @classmethod
    def read(cls: type[Arrays], path: Path) -> Arrays:
        """What `write` wrote. Raises OSError, ValueError, and KeyError for a file without one of the fields."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field.name: file[field.name] for field in dataclasses.fields(cls)})


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz; none where the file is missing or cut short."""
    if not zipfile.is_zipfile(path):
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def clean_once(folder: Path) -> None:
    """`remove_stale_temporaries`, the first time that this process asks for a folder."""
    folder = folder.absolute()
    if folder not in _CLEANED:
        _CLEANED.add(folder)
        remove_stale_temporaries(folder)


def remove_stale_temporaries(folder: Path) -> int:
    """Remove temporary files whose writer was killed; return their number. A running writer's file stays."""
    removed = 0
    for temporary in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if _is_stale(temporary):
                temporary.unlink()
                removed += 1
    return removed


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_stale(temporary: Path) -> bool:
    ours = _OURS.fullmatch(temporary.name)
    if ours is None or not temporary.is_file():
        return False
    if time.time() - temporary.stat().st_mtime > STALE_AFTER_S:
        return True
    return ours["host"] == _host() and not _is_running(int(ours["process"]))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    return "".join(letter for letter in socket.gethostname() if letter.isalnum()) or "host"


SEAL_KEY: Final = b"stmbench.seal"
_BLANK: Final = SEAL_KEY + b" sha256:" + b"0" * 64
ROW_GROUP, LARGE_PART = 2**16, 2**12  # rows
# key and value both hold the word: one damaged byte cannot make a sealed part look like one without a seal
_SEAL: Final = re.compile(re.escape(_BLANK[:-64]) + rb"([0-9a-f]{64})")

ARTIFACTS: Final = "artifacts"  # in a part's metadata: path in the store -> bytes and sha256
GONE: Final = "the file is gone"


def sealed(table: pa.Table) -> bytes:
    """The table as a sealed Parquet file, with a checksum for every page."""
    content = io.BytesIO()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), SEAL_KEY: _BLANK})
    compression = "zstd" if table.num_rows > LARGE_PART else "snappy"  # a small part is read twice as fast
    pq.write_table(table, content, compression=compression, write_page_checksum=True, row_group_size=ROW_GROUP)
    data = content.getvalue()
    if data.count(_BLANK) != 1 or len(_SEAL.findall(data)) != 1:
        raise TableError("metadata without a part's seal", "a text that looks like one", "leave it out")
    return data.replace(_BLANK, _BLANK[:-64] + hashlib.sha256(data).hexdigest().encode())


def is_sealed(data: bytes) -> bool:
    """Whether the file has a seal, intact or broken; parts of older versions have none."""
    return SEAL_KEY in data


def is_intact(data: bytes) -> bool:
    """Whether a sealed file is what was written, to the bit."""
    seals = list(_SEAL.finditer(data))
    if len(seals) != 1:
        return False
    start, end = seals[0].span(1)
    actual = hashlib.sha256(data[:start])
    actual.update(b"0" * 64)
    actual.update(data[end:])
    return actual.hexdigest().encode() == seals[0].group(1)


def artifact_facts(folder: Path, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and hash of each file, by its path in the store's folder; missing files are left out.

    Raises:
        OSError: a file that cannot be read.
    """
    files = {path: folder / path for path in sorted(set(paths))}
    return {
        path: {"bytes": file.stat().st_size, "sha256": _hash(file)} for path, file in files.items() if file.is_file()
    }


def artifact_fault(file: Path, facts: Mapping[str, Any] | None) -> str | None:
    """Why a file is not the one that was written; None if it is.

    Args:
        facts: of `artifact_facts`; None for a part of an older version, whose files only have to exist.
    """
    try:
        size = file.stat().st_size if file.is_file() else None
        if size is None:
            return GONE
        if facts is None:
            return None if size else "the file is empty"
        if size != facts["bytes"]:
            return f"{size} bytes instead of {facts['bytes']}"
        return None if _hash(file) == facts["sha256"] else "other bytes than were written"
    except OSError as error:
        return error.strerror or str(error)


def _hash(path: Path) -> str:
    """SHA-256, in hex; of a large file only once for as long as it is not written."""
    status = path.stat()
    if status.st_size < LARGE:
        return _hash_of.__wrapped__(path, ())
    return _hash_of(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))


@functools.lru_cache(maxsize=256)
def _hash_of(path: Path, version: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


# Metadata that readers rely on: name -> (types, type of the items). Any other entry that JSON can hold is allowed.
_TYPES: Final[dict[str, tuple[tuple[type, ...], type | None]]] = {
    "analysis": ((str,), None),
    "artifacts": ((dict,), dict),  # path in the store -> bytes, sha256
    "commit": ((str, type(None)), None),
    "conditions": ((dict,), None),
    "faint_mixers": ((dict,), float),  # model -> share of its mixers' branches in the residual stream
    "disturbances": ((list,), dict),  # kind, amount, text
    "machine": ((dict,), None),
    "mixers": ((dict,), dict),  # mixer -> title, abbreviation, palette_slot
    "models": ((list,), str),
    "outputs": ((dict,), int),  # model -> outputs of its head; parts of older versions lack it
    "software": ((dict,), None),
    "status": ((str,), None),
    "warnings": ((list,), str),
}
_FIELDS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "artifacts": {"bytes": (int,), "sha256": (str,)},
    "disturbances": {"kind": (str,), "amount": (int, float), "text": (str,)},
    "mixers": {"title": (str,), "abbreviation": (str,), "palette_slot": (int, type(None))},
}


def metadata_fault(metadata: Any) -> str | None:
    """The first entry of the wrong type; None if there is none."""
    if not isinstance(metadata, dict):
        return f"{metadata!r}"[:80]
    for name in (name for name in _TYPES if name in metadata):
        value, (types, item_type) = metadata[name], _TYPES[name]
        items = list(value.values() if isinstance(value, dict) else value) if isinstance(value, dict | list) else []
        right = isinstance(value, types) and (item_type is None or all(isinstance(item, item_type) for item in items))
        if not right or (name in _FIELDS and not all(_has(item, _FIELDS[name]) for item in items)):
            return f"{name} is {value!r}"[:80]
    return None


def _has(item: Any, fields: dict[str, tuple[type, ...]]) -> bool:
    return all(isinstance(item.get(field), types) for field, types in fields.items())
