"""What a node of a Ray cluster does with a task: a folder of its own, the task, and the files that it made."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from stmbench.errors import StmbenchError, reason_of
from stmbench.experiments.tasks import Task, TaskResult, execute
from stmbench.tables.files import replacing
from stmbench.tables.packed import locked

Files = dict[str, Any]  # path relative to the store's folder -> content: bytes, or a reference to them
PREFIX, LOCK = "stmbench-task-", ".lock"
LARGE: Final = 2**20  # bytes: from here on Ray passes an array on without copying it
_SWEPT: Final = set[str]()


def elsewhere(task: Task, files: Files) -> tuple[TaskResult | None, Files, str | None]:
    """A task in a folder of its own on whatever node: its result, the files that it made, or why it was refused."""
    import torch

    with scratch_folder() as folder:
        unpack({place: _fetched(content) for place, content in files.items()}, folder)
        given = {path: (folder / path).stat().st_mtime_ns for path in files}
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        try:
            result = execute(_rooted(task, folder), folder)
        except (StmbenchError, SystemExit) as error:
            return None, {}, reason_of(error)
        made = {}
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder).as_posix()
            if path.is_file() and place != LOCK and given.get(place) != path.stat().st_mtime_ns:
                made[place] = content_of(path)
        return result, made, None


def at_address(task: Task, files: Files, address: str) -> tuple[TaskResult | None, Files, str | None]:
    """A task whose store is at an address: this node has a mirror of it, shared by its tasks, and sends what is new.

    Only the result goes back to whoever began the task.
    """
    import torch

    from stmbench.tables.addresses import mirror_at

    with scratch_folder() as folder:
        unpack({place: _fetched(content) for place, content in files.items()}, folder)
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        try:
            mirror = mirror_at(address)
            mirror.pull()
            try:
                return execute(_rooted(task, folder), mirror.folder), {}, None
            finally:
                mirror.end()
        except (StmbenchError, SystemExit) as error:
            return None, {}, reason_of(error)


def content_of(path: Path) -> Any:
    """A file's content, as Ray takes it best."""
    data = path.read_bytes()
    return data if len(data) < LARGE else np.frombuffer(data, np.uint8)


def unpack(files: Mapping[str, Any], folder: Path) -> None:
    """Write files, each at once; parts come last, since a part says that its files are there. Raises OSError."""
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    with locked(parts):
        for place in sorted(files, key=lambda place: (place.endswith(".parquet"), place)):
            with replacing(folder / place) as temporary:
                temporary.write_bytes(files[place])


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder; those of processes that were killed, which could not remove theirs, are removed first.

    A living process holds a lock on a file in its folder.
    """
    if tempfile.gettempdir() not in _SWEPT:
        _SWEPT.add(tempfile.gettempdir())
        remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, (Path(name) / f"{LOCK}.new").open("w") as file:
        _lock(file.fileno())
        Path(file.name).rename(Path(name) / LOCK)  # nobody may find it before it is locked
        yield Path(name)


def remove_abandoned(folder: Path) -> None:
    """Remove what tasks of killed processes left."""
    for lock in folder.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:  # someone else's, or of a living process
            if _lock(file.fileno()):
                shutil.rmtree(lock.parent)


def _lock(descriptor: int) -> bool:
    """Whether the lock was taken; raises OSError where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def _fetched(content: Any) -> Any:
    """The bytes, or the array, that a reference stands for."""
    if isinstance(content, bytes | np.ndarray):
        return content
    import ray

    return ray.get(content)


def _rooted(task: Task, folder: Path) -> Task:
    """The task with the files that came with it."""
    files = {model: str(folder / place) for model, place in task.files.items()} if task.step is not None else {}
    return dataclasses.replace(task, files=files, plugins=tuple(str(folder / place) for place in task.plugins))
