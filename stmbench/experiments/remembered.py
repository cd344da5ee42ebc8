"""What plans found out by building models and opening sets, kept from one command to the next.

Importing PyTorch and timm for that takes seconds, a plan without them half of one. A file in the user's cache folder
keeps what depends on the code alone (which options a model takes, its size, how many images an embedded set has) for
this version of it, and speeds on this machine for a day. STMBENCH_REMEMBER=off leaves it alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stmbench.architectures import listing
from stmbench.bundled import PACKAGE, cache_folder

VARIABLE = "STMBENCH_REMEMBER"
LIBRARIES = ("torch", "timm", "torchvision")
DAY_S = 86_400.0
MOST = 2_000  # entries that are kept
Kept = dict[str, list[Any]]  # by what was asked for: the answer, and when it was found


def remembered(kind: str, key: str, find: Callable[[], Any], *, of_machine: bool = False) -> Any:
    """What `find` gave when it was last asked, or gives now; JSON values.

    Args:
        kind: what was asked for, with `key` its name.
        of_machine: whether the answer is another one on another machine, and tomorrow.
    """
    if os.environ.get(VARIABLE, "").lower() == "off" or not listing.is_as_shipped():
        return find()
    name = f"{kind} {key}" + (f" {platform.node()} {os.cpu_count()}" if of_machine else "")
    found = _read().get(name)
    if found is not None and (not of_machine or 0 <= time.time() - found[1] < DAY_S):
        return found[0]
    answer = find()
    if listing.is_as_shipped():  # finding it may have loaded something
        _write(name, answer)
    return answer


def file() -> Path:
    """Where it is kept."""
    return cache_folder() / "plans.json"


def _read() -> Kept:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        held = json.loads(file().read_text(encoding="utf-8"))
        if held.get("version") == version() and _is_kept(held.get("found")):
            found: Kept = held["found"]
            return found
    return {}


def _is_kept(found: Any) -> bool:
    pairs = found.values() if isinstance(found, dict) else [None]
    return all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], int | float) for pair in pairs)


def _write(name: str, answer: Any) -> None:
    """A cache that cannot be written keeps nothing. Of two processes that write at once, one is forgotten."""
    from stmbench.tables.files import replacing  # which imports NumPy and Arrow

    found = {**_read(), name: [answer, time.time()]}
    newest = sorted(found.items(), key=lambda item: item[1][1])[-MOST:]
    with contextlib.suppress(OSError), replacing(file()) as temporary:
        temporary.write_text(json.dumps({"version": version(), "found": dict(newest)}), encoding="utf-8")


@functools.cache
def version() -> str:
    """Of all code that an answer depends on."""
    text = hashlib.sha256(platform.python_version().encode())
    for name in LIBRARIES:
        text.update(importlib.metadata.version(name).encode())
    for source in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.json")]):
        text.update(source.read_bytes())
    return text.hexdigest()
