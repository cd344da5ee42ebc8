"""Files that rows name in their column `artifact`: what they were when the part was written, and what they are now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

METADATA: Final = "artifacts"  # of a part: place in the store -> bytes and sha256
GONE: Final = "the file is gone"


def facts_of(folder: Path, places: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and hash of each file by its place in the store's folder; one that is not there is left out.

    Raises:
        OSError: a file that cannot be read.
    """
    files = {place: folder / place for place in sorted(set(places))}
    return {
        place: {"bytes": path.stat().st_size, "sha256": _hash(path)} for place, path in files.items() if path.is_file()
    }


def fault_of(path: Path, facts: Mapping[str, Any] | None) -> str | None:
    """Why a file is not the one that was written, in words; None where it is.

    Args:
        facts: what `facts_of` said of it; None, of a part of an older version: then it has to be there.
    """
    try:
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            return GONE
        if facts is None:
            return None if size else "the file is empty"
        if size != facts["bytes"]:
            return f"{size} bytes instead of {facts['bytes']}"
        return None if _hash(path) == facts["sha256"] else "other bytes than were written"
    except OSError as error:
        return error.strerror or str(error)


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()
