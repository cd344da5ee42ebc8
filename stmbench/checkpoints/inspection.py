"""What a checkpoint holds, without a model: its sets of weights, their tensors, the names of its classes.

`write_safetensors` copies one set of weights into a safetensors file.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stmbench.checkpoints.families import class_keys, family_of
from stmbench.checkpoints.reading import StoredWeights, is_safetensors, read_content, read_weights
from stmbench.checkpoints.selection import Checkpoint, WeightSet, choose_set, weight_sets
from stmbench.errors import CheckpointError, OutputError
from stmbench.tables.files import replacing


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateEntry:
    """One entry of a state dict. If it is no tensor, `shape` is None and `dtype` is its type."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightSetSummary:
    """One set of weights of a file.

    Attributes:
        key: where it is in the file; '' for the whole file.
        averaged: whether it is a running average.
        family: title of the family whose names it has.
    """

    key: str
    averaged: bool
    family: str
    entries: tuple[StateEntry, ...]

    @property
    def num_values(self) -> int:
        """Elements of all tensors."""
        return sum(torch.Size(entry.shape).numel() for entry in self.entries if entry.shape is not None)


def inspect(checkpoint: Checkpoint) -> list[WeightSetSummary]:
    """All sets of weights in a file, or the one that the checkpoint names.

    Raises:
        CheckpointError: a file that cannot be read safely, or that lacks what is asked for.
    """
    sets = weight_sets(read_content(checkpoint.path))
    if checkpoint.key is not None or checkpoint.weights is not None:
        sets = [choose_set(sets, key=checkpoint.key, weights=checkpoint.weights)]
    return [_summary(item) for item in sets]


def write_safetensors(checkpoint: Checkpoint, out: Path) -> tuple[StoredWeights, int]:
    """Write one set of weights with plain names. In tables the copy has the name of the original.

    Returns:
        The weights, and the number of tensors written.

    Raises:
        CheckpointError: weights that cannot be loaded.
        OutputError: `out` exists, or cannot be written.
    """
    if out.exists():
        raise OutputError("a new file", f"{out}, which exists", "name another one with --out, or remove it")
    stored = read_weights(checkpoint)
    try:
        state = stored.state
    except CheckpointError:  # names that differ only in their prefixes
        state = stored.tensors
    # the format does not allow tensors that share memory, such as tied weights
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    try:
        with replacing(out) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt", "source": stored.source})
    except Exception as error:  # safetensors raises errors of its own for a full disk
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise OutputError(f"to write {out}", reason, "choose another file with --out") from error
    return stored, len(tensors)


def _summary(item: WeightSet) -> WeightSetSummary:
    names: Mapping[Any, Any] = item.state
    return WeightSetSummary(
        key=item.key,
        averaged=item.averaged,
        family=family_of(name for name in names if isinstance(name, str)).title,
        entries=tuple(_entry(str(name), value) for name, value in names.items()),
    )


def _entry(name: str, value: Any) -> StateEntry:
    if not isinstance(value, Tensor):
        return StateEntry(name=name, shape=None, dtype=type(value).__name__)
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_nested:
        return StateEntry(name=name, shape=None, dtype=f"{kind} nested")
    layout = "" if value.layout == torch.strided else " sparse"
    return StateEntry(name=name, shape=tuple(value.shape), dtype=f"{kind}{layout}{' meta' if value.is_meta else ''}")


def class_names(checkpoint: Checkpoint | str | Path) -> tuple[str, ...] | None:
    """The names of a checkpoint's classes in the order of its outputs.

    A .safetensors file has them in its metadata (`classes`, JSON), a torch file next to its weights, as a list or as
    name -> index.

    Returns:
        None if the file has none, or cannot be read (loading it then reports why).
    """
    path = Checkpoint.of(checkpoint).path
    if not path.is_file():
        return None
    status = path.stat()
    return _read_class_names(path, (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=64)
def _read_class_names(path: Path, version: tuple[int, int]) -> tuple[str, ...] | None:
    """The names in one version of the file, known by its time and size."""
    keys = class_keys()
    try:
        if is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            content: Mapping[Any, Any] = {key: json.loads(metadata[key]) for key in keys if key in metadata}
        else:
            content = read_content(path)
    except Exception:  # damaged bytes can fail anywhere in the readers, and names are optional
        return None
    return next((names for key in keys if (names := _names(content.get(key))) is not None), None)


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    if not isinstance(value, Mapping) or not value:
        return None
    pairs = [(item, key) if isinstance(item, int) else (key, item) for key, item in value.items()]
    try:
        numbered = sorted((int(number), str(name)) for number, name in pairs)
    except (TypeError, ValueError):
        return None
    if [number for number, _ in numbered] != list(range(len(numbered))):
        return None
    return tuple(name for _, name in numbered)
