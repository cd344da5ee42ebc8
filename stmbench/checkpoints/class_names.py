"""The names of the classes that a checkpoint was trained on, where its writer left them in the file."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from stmbench.checkpoints.file_kinds import is_safetensors
from stmbench.checkpoints.reading import read_content
from stmbench.checkpoints.selection import Checkpoint

KEYS = ("classes", "class_names", "class_to_idx", "label_names", "id2label")


def class_names(checkpoint: Checkpoint | str | Path) -> tuple[str, ...] | None:
    """Names in the order of the outputs; None where the file has none, or cannot be read, which loading then says.

    A .safetensors file has them in its metadata (`classes`, JSON), a torch file beside its weights, in a list or as
    name -> index.
    """
    path = Checkpoint.of(checkpoint).path
    if not path.is_file():
        return None
    status = path.stat()
    return _read(path, (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=64)
def _read(path: Path, version: tuple[int, int]) -> tuple[str, ...] | None:
    """Of one version of the file."""
    try:
        if is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            content: Mapping[Any, Any] = {key: json.loads(metadata[key]) for key in KEYS if key in metadata}
        else:
            content = read_content(path)
    except Exception:  # damaged bytes can stop the readers anywhere, and a file without names is none that is wrong
        return None
    return next((names for key in KEYS if (names := _names(content.get(key))) is not None), None)


def _names(found: Any) -> tuple[str, ...] | None:
    if isinstance(found, (list, tuple)) and found and all(isinstance(name, str) for name in found):
        return tuple(found)
    if not isinstance(found, Mapping) or not found:
        return None
    pairs = [(value, key) if isinstance(value, int) else (key, value) for key, value in found.items()]
    try:
        numbered = sorted((int(number), str(name)) for number, name in pairs)
    except (TypeError, ValueError):
        return None
    if [number for number, _ in numbered] != list(range(len(numbered))):
        return None
    return tuple(name for _, name in numbered)
