"""Data sets at addresses (s3://bucket/imagenet): downloaded at their first use, and read from there like any other.

A set is kept in the user's cache ($XDG_CACHE_HOME/stmbench/data, else ~/.cache/stmbench/data), which on a cluster
belongs on the node's own disk. Files are compared with the objects by size and version, so an interrupted download goes
on, and what was replaced or removed there is replaced or removed here. Shards (tar, Parquet) whose names contain
another split than the wanted one stay where they are.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final

from stmbench.bundled import cache_folder
from stmbench.data.image_files import is_junk
from stmbench.data.image_set import KNOWN_SPLITS, split_candidates
from stmbench.data.shard_files import expanded_pattern, split_words
from stmbench.errors import InputError, OutputError
from stmbench.tables.files import replacing, write_file
from stmbench.tables.object_storage import Facts, ObjectFolder, each, last_name
from stmbench.tables.packed import locked

RECORD: Final = "download.json"
SHARDS: Final = (".tar", ".parquet")
SAY_EVERY_S: Final = 10.0
SPARE: Final = 2**30  # bytes that are left free
_PATTERN: Final = re.compile(r"[*?\[{]")


@functools.lru_cache(maxsize=64)  # a run opens a set often, and one answer holds for all of it
def downloaded(address: str, split: str) -> str:
    """The path, or pattern of paths, on this machine of the set at an address; downloads what is not here.

    Args:
        address: of a folder, a file, or shards by pattern (s3://bucket/val-{000..009}.tar).

    Raises:
        InputError: nothing there, or no room for it. OutputError: the cache cannot be written.
    """
    place = _PATTERN.split(address)[0].rpartition("/")[0] if _PATTERN.search(address) else address.rstrip("/")
    folder, name = ObjectFolder(place), address.removeprefix(f"{place}/") if place != address.rstrip("/") else ""
    found = folder.files()
    if not found and not name:  # one file
        folder, name = ObjectFolder(place.rpartition("/")[0]), last_name(place)
        found = {name: facts for name, facts in folder.files().items() if name == last_name(place)}
    elif name:
        patterns = list(expanded_pattern(name))
        found = {file: facts for file, facts in found.items() if any(_matches(file, each) for each in patterns)}
    wanted = {file: facts for file, facts in found.items() if name or _is_wanted(file, split)}
    if not wanted:
        raise InputError("a data set at the address", f"{address}, where there is none", "correct the address")
    home = cache_folder() / "data" / hashlib.sha256(folder.address.encode()).hexdigest()[:16]
    root = home / (last_name(folder.address) or "data")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got, remedy = f"{root} ({error.strerror or error})", "set XDG_CACHE_HOME to a folder of yours"
        raise OutputError("a cache that can be written, for a data set at an address", got, remedy) from error
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OutputError):  # without locks two processes download the same, and both are right
            stack.enter_context(locked(root, alone=True))
        _download(folder, root, wanted, there=None if name else found.keys())
    return str(root / name) if name else str(root)


def _download(folder: ObjectFolder, root: Path, wanted: Mapping[str, Facts], *, there: Set[str] | None) -> None:
    """Bring what is wanted; what is not `there`, if that is known, is removed here too."""
    record = root.parent / RECORD
    known = _recorded(record)
    new = [file for file, facts in wanted.items() if not _is_here(root / file, facts, known.get(file))]
    gone = set() if there is None else known.keys() - there
    for file in gone:
        (root / file).unlink(missing_ok=True)
        del known[file]
    size = sum(wanted[file].size for file in new)
    free = shutil.disk_usage(root).free
    if size + SPARE > free:
        got = f"{free / 2**30:.1f} GiB free for {size / 2**30:.1f} GiB in {root}"
        raise InputError(f"room for {folder.address}", got, "set XDG_CACHE_HOME to a folder on a larger disk")
    say = _Progress(folder.address, len(new), size)

    def get(file: str) -> None:
        with replacing(root / file) as temporary:
            folder.get(file, temporary)
            got = temporary.stat().st_size
            if got != wanted[file].size:
                remedy = "run it again: what is here stays"
                raise InputError(f"{wanted[file].size} bytes of {folder.address}/{file}", f"{got}", remedy)
        known[file] = list(wanted[file])
        say.done(wanted[file].size)

    try:
        each(get, new)
    finally:
        if new or gone:
            write_file(record, json.dumps({"address": folder.address, "files": known}))


class _Progress:
    """A line on standard error at the beginning, and then every ten seconds."""

    def __init__(self, address: str, files: int, size: int) -> None:
        self._address, self._files, self._size = address, files, size
        self._got, self._count, self._began = 0, 0, time.monotonic()
        self._said = self._began
        if files:
            print(f"downloading {address}: {_count(files)}, {_bytes(size)}", file=sys.stderr)

    def done(self, size: int) -> None:
        """One more file of this size is here."""
        self._got, self._count, now = self._got + size, self._count + 1, time.monotonic()
        if now - self._said >= SAY_EVERY_S:
            self._said = now
            left = (now - self._began) * (self._size - self._got) / max(1, self._got)
            text = f"{self._count:,} of {_count(self._files)}, {_bytes(self._got)} of {_bytes(self._size)}"
            print(f"downloading {self._address}: {text}, about {left:.0f} s left", file=sys.stderr)


def _is_wanted(file: str, split: str) -> bool:
    """Neither junk nor a shard of another split."""
    if any(is_junk(word) for word in file.split("/")):
        return False
    if not file.endswith(SHARDS):
        return True
    splits = {word for word in split_words(Path(file)) if word in KNOWN_SPLITS}
    return not splits or bool(splits & set(split_candidates(split)))


def _matches(file: str, pattern: str) -> bool:
    return file.count("/") == pattern.count("/") and fnmatch.fnmatchcase(file, pattern)


def _is_here(path: Path, facts: Facts, known: Any) -> bool:
    return known == list(facts) and path.is_file() and path.stat().st_size == facts.size


def _recorded(record: Path) -> dict[str, Any]:
    try:
        files = json.loads(record.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files:,} files"


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
