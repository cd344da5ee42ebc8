"""`load_checkpoint`: load weights into a model, all of its tensors or none."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.checkpoints.families import OTHER, family_of, precise, resized_table
from stmbench.checkpoints.reading import StoredWeights, read_weights
from stmbench.checkpoints.selection import Checkpoint, is_counter, plain
from stmbench.errors import CheckpointError
from stmbench.mixers.base import Mixer

_OPTIONAL = "num_batches_tracked"  # a counter that old files lack; the forward pass does not use it
RESIZED = "+resized"  # in a label: some tensors differ from the file's
_NOT_RESIZED = "these differ in more than the size of a square map or window, and cannot be resized"
_SHOWN = 5  # tensors named in a message, besides their number


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """Where a model's weights came from.

    Attributes:
        source: the file's name, without folders.
        sha256: hash of the tensors as the model holds them.
        remark: which of several sets of weights was taken, which others the file holds, and which tables were resized.
    """

    source: str
    sha256: str
    remark: str | None = None

    @property
    def label(self) -> str:
        """The table's `weights` column."""
        return f"{self.source}:{self.sha256[:12]}"


def load_checkpoint(
    model: nn.Module,
    source: Checkpoint | StoredWeights | str | Path | Mapping[str, Any],
    *,
    resize_tables: bool = False,
) -> LoadedWeights:
    """Load weights into `model`, in place.

    Args:
        model: from `create_model`, or any module.
        source: a path (.pth, .pt, .safetensors), a `Checkpoint` that also says which of the file's weights, or a state
            dict, bare or wrapped as training scripts do it ('model', 'state_dict', ...). If a file holds raw weights
            and their running average ('model_ema', 'state_dict_ema', 'ema', ...), the average is loaded. Names are the
            model's own or those of a published family (see `families`); prefixes of wrappers ('module.', ...) are
            ignored. Values are converted to the model's dtype and device.
        resize_tables: resize tables of relative positions, position embeddings and what else a mixer makes for one size
            of map, if the file's window or resolution differs from the model's; otherwise such a file is refused.

    Returns:
        The source's name, the hash of the loaded tensors, and remarks on what was loaded.

    Raises:
        CheckpointError: an unreadable or unsafe file; a tensor that is missing, unexpected or of another shape. The
            message names them, and the model is left unchanged.
    """
    stored = source if isinstance(source, StoredWeights) else read_weights(source)
    wanted = model.state_dict()
    given = _with_own_prefixes(stored, wanted)
    state = dict(model.from_published(given)) if isinstance(model, Mixer) else _translated(given, wanted)
    resizing = resize_tables or stored.resize_tables
    tables = _resized_tables(model, state, wanted)
    if resizing:
        state |= tables
    _check(state, wanted, resizable=tables.keys(), resizing=resizing)
    with torch.no_grad():
        for name, value in state.items():
            wanted[name].copy_(value)
    changed = list(tables) if resizing else []
    resized = f"resized {len(changed)} of its tables of positions ({_some(changed)})" if changed else None
    return LoadedWeights(
        source=f"{stored.source}{RESIZED}" if changed else stored.source,
        sha256=state_hash(wanted),
        remark="; ".join(filter(None, (stored.remark, resized))) or None,
    )


def state_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _with_own_prefixes(stored: StoredWeights, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the model's own names if these begin like a wrapper's prefix, such as a module called `encoder`."""
    own = {plain(name): name for name in wanted}
    if len(own) < len(wanted):  # names that differ only in a prefix are used as they are
        return {name: value for name, value in stored.tensors.items() if name in wanted or not is_counter(name)}
    return {own.get(name, name): value for name, value in stored.state.items()}


def _translated(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the model's names and in its layout; unknown names are kept."""
    state: dict[str, Tensor] = {}
    family = OTHER if given.keys() <= wanted.keys() else family_of(given)  # the authors' own module
    for key, value in given.items():
        name = family.renamed(key)
        if name is None:
            continue
        known = name in wanted
        name = name if known else key
        if name in state:
            got = f"{key} and another tensor that maps to it"
            raise CheckpointError(f"one tensor for {name}", got, "leave the weights of one model in the file")
        state[name] = family.reshaped(name, value, tuple(wanted[name].shape)) if known else value
    return state


def _resized_tables(model: nn.Module, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tables of positions whose size differs from the model's, at the model's size."""
    tables = {
        name: _resized(model, name, value, wanted[name].shape)
        for name, value in state.items()
        if name in wanted and value.shape != wanted[name].shape
    }
    return {name: value for name, value in tables.items() if value is not None}


def _resized(model: nn.Module, name: str, value: Tensor, shape: torch.Size) -> Tensor | None:
    """One tensor as the innermost module that says how resizes it, or else as a table of its name."""
    parts = name.split(".")
    for depth in reversed(range(len(parts))) if value.ndim == len(shape) and value.is_floating_point() else ():
        resize = getattr(model.get_submodule(".".join(parts[:depth])), "resized_tensor", None)
        if resize is not None:
            found: Tensor | None = resize(".".join(parts[depth:]), precise(value))
            if found is not None and found.shape == shape:
                return found
            break
    return resized_table(name, value, tuple(shape))


def _check(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, resizable: Collection[str], resizing: bool
) -> None:
    missing = [name for name in wanted if name not in state and not name.endswith(_OPTIONAL) and not is_counter(name)]
    unexpected = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
        for name, value in state.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    mistyped = [  # a copy would lose the scales of int8 weights, and imaginary parts
        f"{name} {_dtype(value)} instead of {_dtype(wanted[name])}"
        for name, value in state.items()
        if name in wanted and wanted[name].is_floating_point() and not value.is_floating_point()
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen), ("of another type", mistyped))
    problems = [f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds if names]
    if problems:
        remedy = "load it into the model it belongs to (same architecture, scale, num_classes and options)"
        if len(problems) == 1 and not resizing and len(resizable) == len(misshapen) > 0:
            remedy = f"resize its tables of positions with --resize-tables, or {remedy}"
        elif resizing and misshapen:
            remedy = f"{_NOT_RESIZED}: {remedy}"
        raise CheckpointError(f"the model's {len(wanted)} tensors", ", ".join(problems), remedy)


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f", and {rest} more" if rest > 0 else "")
