"""Files of a run: weights as safetensors, and a state that is enough to go on. Each is replaced as a whole.

last.safetensors        the newest weights            best.safetensors   those of the highest accuracy so far
last.ema.safetensors    their average, with an ema    epoch-0010.safetensors   with keep_every
state.pt                weights, optimiser, average, place in the run: everything that `--resume` needs
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stmbench.errors import CheckpointError, OutputError
from stmbench.tables.writing import replacing

STATE = "state.pt"
FORMAT = 1


def save_weights(path: Path, weights: Mapping[str, Tensor], *, source: str, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint that `load_checkpoint` reads; `source` is what tables call these weights.

    Raises:
        OutputError: no space or no permission; an older file stays.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    metadata = {"format": "pt", "source": source, "training": json.dumps(dict(facts), sort_keys=True)}
    _replace(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def save_state(path: Path, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write what a run needs to go on. Raises OutputError as `save_weights`."""
    content = {"format": FORMAT, "facts": json.dumps(dict(facts), sort_keys=True), **state}
    _replace(path, lambda temporary: torch.save(content, temporary))


def load_state(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a run of exactly these facts.

    Raises:
        CheckpointError: no such file, a damaged one, or one of another model, recipe or data; says what differs.
    """
    if path.is_dir():
        path = path / STATE
    if not path.is_file():
        raise CheckpointError("the state of a training run", f"no file at {path}", "name a run's folder or state.pt")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        version, stored = found.pop("format"), json.loads(found.pop("facts"))
    except Exception as error:  # damaged bytes stop the reader anywhere
        raise CheckpointError("a state.pt of stmbench", f"{path.name}, damaged or foreign", "start anew") from error
    if version > FORMAT:
        raise CheckpointError(f"a state of format {FORMAT}", f"format {version}", "update stmbench")
    wanted = json.loads(json.dumps(dict(facts)))
    different = list(_differences(stored, wanted))
    if different:
        name, old, new = different[0]
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        remedy = "resume with the options it was started with, or train afresh with --fresh"
        raise CheckpointError(f"a state of a run with {name} {new!r}", f"{old!r}{more}", remedy)
    return dict(found)


def _differences(old: Any, new: Any, name: str = "") -> Any:
    """(name, old, new) of every fact that is not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif old != new:
        yield name, old, new


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with replacing(path, durable=True) as temporary:
            write(temporary)
    except Exception as error:  # torch and safetensors have errors of their own for a full disk
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        remedy = "free space and run the same command again: the older checkpoint is whole"
        raise OutputError(f"to write {path.name}", reason, remedy) from error
