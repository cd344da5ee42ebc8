"""State dicts from files, read as tensors and nothing else: a checkpoint never runs code."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stmbench.checkpoints.naming import plain_state
from stmbench.checkpoints.selection import Checkpoint, WeightSet, chosen, weight_sets
from stmbench.errors import CheckpointError


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """Weights as a file holds them.

    Attributes:
        tensors: by the names that the file has, on the CPU.
        source: what tables call them; with the key where the file holds more than one set of weights.
        remark: which set was taken and what else is there; None where there is no choice.
    """

    tensors: dict[str, Tensor]
    source: str
    remark: str | None = None

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
        content, name = _read_file(given.path), source_of(given.path)
    if not isinstance(content, Mapping):
        raise CheckpointError("a state dict", f"a {type(content).__name__}", "pass the file that holds the weights")
    sets = weight_sets(content)
    taken = chosen(sets, key=given.key, weights=given.weights)
    return StoredWeights(
        tensors=_checked(taken),
        source=f"{name}#{taken.key}" if len(sets) > 1 else name,
        remark=_remark(name, taken, sets) if len(sets) > 1 else None,
    )


def _checked(taken: WeightSet) -> dict[str, Tensor]:
    strangers = [key for key, value in taken.state.items() if not isinstance(value, Tensor)]
    if strangers or not taken.state:
        got = f"{strangers[0]!r}: {type(taken.state[strangers[0]]).__name__}" if strangers else "an empty one"
        raise CheckpointError("a state dict (tensors by name)", got, "pass the file that holds the model's weights")
    return dict(taken.state)


def _remark(name: str, taken: WeightSet, sets: list[WeightSet]) -> str:
    others = ", ".join(str(item) for item in sets if item is not taken)
    return f"{name}: took the weights {taken}; the file also holds {others}: --weights or FILE#KEY takes those"


def source_of(path: Path) -> str:
    """What tables call a file's weights: the name that its writer gave them, or the file's, without folders."""
    if path.suffix == ".safetensors":
        with contextlib.suppress(Exception), safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("source") or path.name)
    return path.name


def _read_file(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError("a checkpoint file", f"no file at {path}", "correct the path")
    remedy = "fetch the file again, or convert it to .safetensors where you trust it"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # torch muses about pickle protocols before it refuses
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        got = f"{path.name}, a pickle with code or objects in it or no torch file ({_first_line(error)})"
        raise CheckpointError("a file of tensors", got, remedy) from error
    except Exception as error:  # damaged bytes can stop the two readers anywhere, with any exception
        got = f"{path.name}, truncated or not a checkpoint ({_first_line(error)})"
        raise CheckpointError("a complete checkpoint file", got, remedy) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
