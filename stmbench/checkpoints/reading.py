"""State dicts from files, read as tensors and nothing else: a checkpoint never runs code."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stmbench.checkpoints.file_kinds import foreign, is_safetensors
from stmbench.checkpoints.naming import plain_state
from stmbench.checkpoints.selection import Checkpoint, WeightSet, chosen, weight_sets
from stmbench.errors import CheckpointError
from stmbench.tables.labels import is_random

_LONGEST = 120  # letters of a file's name in a table
_LARGEST_VIEW = 2**30  # bytes of a tensor that repeats the few values of its storage: a file of 1 kB can ask for more


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """Weights as a file holds them.

    Attributes:
        tensors: by the names that the file has, on the CPU.
        source: what tables call them; with the key where the file holds more than one set of weights.
        remark: which set was taken and what else is there; None where there is no choice.
        resize_tables: whether whoever asked for the weights wants tables of positions resized.
    """

    tensors: dict[str, Tensor]
    source: str
    remark: str | None = None
    resize_tables: bool = False

    @functools.cached_property
    def state(self) -> dict[str, Tensor]:
        """Tensors by name, without prefixes of wrappers and without counters."""
        return plain_state(self.tensors)


def read_weights(source: Checkpoint | str | Path | Mapping[str, Any]) -> StoredWeights:
    """The weights of a .safetensors or torch file or of a (possibly wrapped) state dict.

    Raises:
        CheckpointError: no such file; a truncated or foreign file; a pickle that holds anything besides tensors and
            plain containers; weights that are asked for and are not there.
    """
    if isinstance(source, Mapping):
        given, content, name = Checkpoint(path=Path()), source, "state dict"
    else:
        given = Checkpoint.of(source)
        content, name = read_content(given.path), source_of(given.path)
    sets = weight_sets(content)
    taken = chosen(sets, key=given.key, weights=given.weights)
    return StoredWeights(
        tensors=_checked(taken),
        source=f"{name}#{taken.key}" if len(sets) > 1 else name,
        remark=_remark(name, taken, sets) if len(sets) > 1 else None,
        resize_tables=given.resize_tables,
    )


def read_content(path: Path) -> Mapping[Any, Any]:
    """Everything that a file holds. Raises CheckpointError where that is not safe, or no mapping."""
    content = _read_file(path)
    if not isinstance(content, Mapping):
        raise CheckpointError("a state dict", f"a {type(content).__name__}", "pass the file that holds the weights")
    return content


def _checked(taken: WeightSet) -> dict[str, Tensor]:
    """The set's tensors, if that is what it holds. Raises CheckpointError, which names the first stranger."""
    if not taken.state:
        remedy = "pass the file that holds the model's weights"
        raise CheckpointError("a state dict (tensors by name)", "an empty one", remedy)
    for name, value in taken.state.items():
        got = _trouble(name, value)
        if got is not None:
            remedy = "pass the file that holds the model's weights, as ordinary tensors by name"
            raise CheckpointError("a state dict (tensors by name)", got, remedy)
    return dict(taken.state)


def _trouble(name: Any, value: Any) -> str | None:
    """What keeps an entry of a state dict from being a named tensor."""
    if not isinstance(name, str):
        return f"the key {str(name)[:40]} ({type(name).__name__})"
    if not isinstance(value, Tensor):
        return f"{name!r}: {type(value).__name__}"
    if value.is_meta:
        return f"{name!r}: a meta tensor, which has a shape and no values"
    if value.is_quantized:
        return f"{name!r}: a quantised tensor"
    if value.is_nested or value.layout != torch.strided:
        return f"{name!r}: a {'nested' if value.is_nested else 'sparse'} tensor"
    if value.nbytes > max(value.untyped_storage().nbytes(), _LARGEST_VIEW):
        return f"{name!r}: a tensor of shape {tuple(value.shape)} of which the file holds only a part"
    return None


def _remark(name: str, taken: WeightSet, sets: list[WeightSet]) -> str:
    others = ", ".join(str(item) for item in sets if item is not taken)
    return f"{name}: took the weights {taken}; the file also holds {others}: --weights or FILE#KEY takes those"


# what torch's reader of tensors alone refuses to import
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def source_of(path: Path) -> str:
    """What tables call a file's weights: the name that its writer gave them, or the file's, without folders."""
    name = path.name
    with contextlib.suppress(Exception):
        if is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                name = str((file.metadata() or {}).get("source") or name)
    name = "".join(letter for letter in name if letter.isprintable())[:_LONGEST] or "weights"
    return f"file {name}" if is_random(name) else name  # a label that begins like those of untrained weights


def _read_file(path: Path) -> Any:
    if not path.is_file():
        got = f"no file at {path}" if not path.exists() else f"a {_kind(path)}: {path.name}"
        raise CheckpointError("a checkpoint file", got, "correct the path")
    try:
        is_safe = is_safetensors(path)
        stranger = None if is_safe else foreign(path)
    except OSError as error:
        raise CheckpointError("a checkpoint file", f"{path.name}: {error.strerror}", "correct the path") from error
    if stranger is not None:
        raise CheckpointError("a checkpoint file", f"{path.name}, {stranger[0]}", stranger[1])
    try:
        if is_safe:
            return load_file(path)
        # torch muses about pickle protocols before it refuses; timm's checkpoints keep their options as a Namespace
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            with path.open("rb") as file:  # of a path torch would look at the suffix
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can stop the two readers anywhere, with any exception
        named = _GLOBAL.search(str(error))
        if named is not None:
            got = f"{path.name}, a pickle with code or objects in it ({named[1]})"
            remedy = "where you trust it, load it yourself and save its tensors alone: torch.save(state_dict, FILE)"
            raise CheckpointError("a file of tensors", got, remedy) from error
        with path.open("rb") as file:
            start = file.read(2)
        plain_pickle = start[:1] == b"\x80" and start[1:] > b"\x02"  # torch's own are of protocol 2
        what = "a pickle that torch.save did not write" if plain_pickle else "truncated, damaged or no checkpoint"
        got = f"{path.name}, {what}"
        raise CheckpointError("a complete checkpoint file", got, "fetch the file again") from error


def _kind(path: Path) -> str:
    return "folder" if path.is_dir() else "pipe, socket or device"
