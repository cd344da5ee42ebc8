"""Atomic writes: a temporary file in the same folder, then a rename, so a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from stmbench.errors import OutputError

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
    folder = path.parent.absolute()
    if folder not in _CLEANED:
        _CLEANED.add(folder)
        remove_stale_temporaries(folder)
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


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed .npz atomically. Raises OSError."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


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
