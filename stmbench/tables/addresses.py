"""Stores by path or by address: where one is worked on, what it has, and that all of it is sent at the end."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stmbench.errors import OutputError
from stmbench.tables.files import PROGRESS
from stmbench.tables.mirror import RECORD, Mirror, home_of, stores_folder
from stmbench.tables.object_storage import is_address, last_name

_OPEN: Final = dict[Path, Mirror]()  # by folder; of this process


def mirror_at(address: str) -> Mirror:
    """The mirror of an address; one for each in a process. Raises as `open_file_system` does."""
    mirror = _OPEN.get(home_of(address.rstrip("/")) / last_name(address))
    if mirror is None:
        mirror = Mirror(address)
        _OPEN[mirror.folder] = mirror
    return mirror


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a path lies in, whichever process began it; None for a path of any other folder."""
    known = next((mirror for folder, mirror in _OPEN.items() if path.is_relative_to(folder)), None)
    if known is not None:
        return known
    root = stores_folder()
    if not path.is_relative_to(root) or len(path.relative_to(root).parts) < 2:
        return None
    home, name = path.relative_to(root).parts[:2]
    try:
        address = str(json.loads((root / home / RECORD).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    _OPEN[root / home / name] = Mirror(address)
    return _OPEN[root / home / name]


def fetched_store(place: str | Path) -> Path:
    """The folder of a store by its path, or by its address: the mirror's, with all tables fetched.

    Raises:
        InputError: the storage cannot be reached. MissingPackageError, UnknownNameError: see `open_file_system`.
    """
    if isinstance(place, Path) or not is_address(place):
        return Path(place)
    mirror = mirror_at(place)
    mirror.pull()
    return mirror.folder


def shown(path: Path) -> str:
    """A store's path for people: the address, where it is a mirror's."""
    mirror = mirror_of(path)
    if mirror is None:
        return str(path)
    place = path.relative_to(mirror.folder).as_posix()
    return mirror.address if place == "." else f"{mirror.address}/{place}"


def fetched(path: Path) -> Path:
    """The path, after what a store at an address has there was fetched. Raises as `Mirror.pull` does."""
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.fetch(path)
    return path


def is_there(path: Path) -> bool:
    """Whether a store has the file, here or at its address. Raises InputError if that cannot be asked."""
    if path.is_file():
        return True
    mirror = mirror_of(path)
    return mirror is not None and mirror.size(path) is not None


def is_elsewhere(path: Path, size: int) -> bool:
    """Whether a store has the file of this many bytes at its address. Raises InputError if that cannot be asked."""
    mirror = mirror_of(path)
    return mirror is not None and mirror.size(path) == size


def remove_there(folder: Path) -> None:
    """Remove what a store has of a folder at its address, where it has one. Raises OutputError."""
    mirror = mirror_of(folder)
    if mirror is not None:
        mirror.remove(folder)


def end_all() -> None:
    """Send the rest of all stores at addresses that this process writes to. Raises OutputError of the first failure."""
    failures = []
    for mirror in _OPEN.values():
        try:
            mirror.end()
        except OutputError as error:
            failures.append(error)
    if failures:
        raise failures[0]


@contextlib.contextmanager
def sent_at_the_end() -> Iterator[None]:
    """Send the rest when the block ends, also where it fails: what was measured by then is kept.

    Raises:
        OutputError: it cannot be sent, and the block did not fail by itself.
    """
    try:
        yield
    except BaseException:
        try:
            end_all()
        except OutputError as error:
            print(f"warning: {error}", file=sys.stderr)
        raise
    end_all()


def is_progress(place: str) -> bool:
    """Whether a file says where a training stands; for who watches."""
    return place.endswith(f"/{PROGRESS}")
