"""What a checkpoint holds, without a model to load it into; and the same weights as safetensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stmbench.checkpoints.families import family_of
from stmbench.checkpoints.reading import StoredWeights, read_content, read_weights
from stmbench.checkpoints.selection import Checkpoint, WeightSet, chosen, weight_sets
from stmbench.errors import CheckpointError, OutputError
from stmbench.tables.writing import replacing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a state dict; `shape` is None for what is no tensor, whose type is in `dtype`."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """One set of weights of a file: its place in it, whether it is an average, whose names it has, and its entries."""

    key: str
    averaged: bool
    family: str
    entries: tuple[Entry, ...]

    @property
    def numbers(self) -> int:
        """Numbers in all tensors."""
        return sum(torch.Size(entry.shape).numel() for entry in self.entries if entry.shape is not None)


def inspect(checkpoint: Checkpoint) -> list[Contents]:
    """What is in a file: all sets of weights, or the one that the checkpoint names.

    Raises:
        CheckpointError: a file that cannot be read safely, or that lacks what is asked for.
    """
    sets = weight_sets(read_content(checkpoint.path))
    if checkpoint.key is not None or checkpoint.weights is not None:
        sets = [chosen(sets, key=checkpoint.key, weights=checkpoint.weights)]
    return [_contents(item) for item in sets]


def write_safetensors(checkpoint: Checkpoint, out: Path) -> tuple[StoredWeights, int]:
    """Write one set of weights with plain names; tables call the copy as they call the original.

    Returns:
        The weights, and how many tensors were written.

    Raises:
        CheckpointError: weights that cannot be loaded. OutputError: a file that is there, or cannot be written.
    """
    if out.exists():
        raise OutputError("a new file", f"{out}, which exists", "name another one with --out, or remove it")
    stored = read_weights(checkpoint)
    try:
        state = stored.state
    except CheckpointError:  # names that a prefix alone tells apart
        state = stored.tensors
    # tensors that share memory, as tied weights do, have no place in this format
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    try:
        with replacing(out) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt", "source": stored.source})
    except Exception as error:  # safetensors has errors of its own for a full disk
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise OutputError(f"to write {out}", reason, "choose another place with --out") from error
    return stored, len(tensors)


def _contents(item: WeightSet) -> Contents:
    names: Mapping[Any, Any] = item.state
    return Contents(
        key=item.key,
        averaged=item.averaged,
        family=family_of(name for name in names if isinstance(name, str)).title,
        entries=tuple(_entry(str(name), value) for name, value in names.items()),
    )


def _entry(name: str, value: Any) -> Entry:
    if not isinstance(value, Tensor):
        return Entry(name=name, shape=None, dtype=type(value).__name__)
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_nested:
        return Entry(name=name, shape=None, dtype=f"{kind} nested")
    layout = "" if value.layout == torch.strided else " sparse"
    return Entry(name=name, shape=tuple(value.shape), dtype=f"{kind}{layout}{' meta' if value.is_meta else ''}")
