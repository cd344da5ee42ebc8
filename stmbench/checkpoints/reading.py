"""State dicts from files, read as tensors and nothing else: a checkpoint never runs code."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stmbench.errors import CheckpointError

WRAPPERS = ("model", "model_ema", "state_dict")  # where training scripts keep the weights, in this order


def read_state_dict(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from a .safetensors or torch file or from a (possibly wrapped) state dict.

    Raises:
        CheckpointError: no such file; a truncated or foreign file; a pickle that holds anything besides tensors and
            plain containers.
    """
    content = source if isinstance(source, Mapping) else _read_file(Path(source))
    state = _unwrap(content)
    strangers = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers or not state:
        got = f"{strangers[0]!r}: {type(state[strangers[0]]).__name__}" if strangers else "an empty one"
        raise CheckpointError("a state dict (tensors by name)", got, "pass the file that holds the model's weights")
    return {key.removeprefix("module."): value for key, value in state.items()}


def source_of(path: Path) -> str:
    """What tables call a file's weights: the name that its writer gave them, or the file's, without folders."""
    if path.suffix == ".safetensors":
        with contextlib.suppress(Exception), safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("source") or path.name)
    return path.name


def _unwrap(content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise CheckpointError("a state dict", f"a {type(content).__name__}", "pass the file that holds the weights")
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return dict(content[wrapper])
    return dict(content)


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
