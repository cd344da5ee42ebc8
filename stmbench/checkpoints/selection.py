"""Which weights of a file are meant, and the plain names of their tensors.

Training scripts store the raw weights and their running average (EMA) side by side, and wrappers and profilers add
prefixes and counters to the names.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from stmbench.errors import CheckpointError, ConfigError

Kind = Literal["ema", "raw"]
KINDS: tuple[Kind, ...] = ("ema", "raw")

# where training scripts keep the raw weights, in order of preference
_STUDENT = "student"  # self-distillation is judged by its teacher
_RAW_KEYS = (
    *("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network"),
    *("weights", "params", _STUDENT),
)
# timm's state_dict_ema, DeiT's model_ema, PyTorch's swa_model, mean teachers, ...
_AVERAGED_KEY = re.compile(
    r"(?:^|[^a-zA-Z])(?i:ema|swa|averaged?|polyak|teacher)(?:[^a-zA-Z]|$)|EMA|[a-z]Ema", re.ASCII
)
# a wrapper that holds both models as submodules, as Lightning's modules do, writes them into one state dict
_AVERAGED_MODULE = re.compile(r"^((?:module\.)?(?:\w+_(?:ema|swa)|(?:ema|swa|averaged)(?:_\w+)?))\.")
_AVERAGE_COUNTER = "n_averaged"  # torch.optim.swa_utils.AveragedModel's count of updates
_NOT_WEIGHTS = re.compile(r"optim|sched|scaler|loss|criterion|args|config|hyper|rng|meta", re.IGNORECASE)
_DEPTH = 3

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
_PREFIX = re.compile(rf"^(?:{'|'.join(map(re.escape, PREFIXES))})+")
# these also wrap submodules, and no model uses them in its own names
_WITHIN = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_HEAD_OF_DINO, _LAST_OF_DINO = ("head.mlp.", "head.last_layer."), "head.last_layer."  # of the authors' module
# of thop, and of PyTorch's AveragedModel
_COUNTER = re.compile(r"(?:^|\.)(?:total_ops|total_params|n_averaged)$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file, and which of its weights.

    Attributes:
        key: where the weights are in the file, such as 'model_ema'; None leaves the choice to `weights`.
        weights: 'ema' for the running average, 'raw' for the trained weights; None for the average if the file has
            one, as papers report it, or else the raw weights.
        resize_tables: whether tables of positions are resized if the model's window or resolution differs.
    """

    path: Path
    key: str | None = None
    weights: Kind | None = None
    resize_tables: bool = False

    @classmethod
    def of(cls, source: Checkpoint | str | Path) -> Checkpoint:
        """A path as a checkpoint."""
        return source if isinstance(source, Checkpoint) else cls(path=Path(source).expanduser())

    @classmethod
    def parse(cls, text: str, *, weights: str | None = None, resize_tables: bool = False) -> Checkpoint:
        """Parse `FILE` or `FILE#KEY`; an existing file with a '#' in its name wins. Raises ConfigError."""
        if weights is not None and weights not in KINDS:
            raise ConfigError("ema or raw weights", repr(weights), "change --weights")
        kind: Kind | None = "ema" if weights == "ema" else "raw" if weights == "raw" else None
        file, mark, key = text.rpartition("#")
        if not mark or Path(text).expanduser().exists():
            return cls(path=Path(text).expanduser(), weights=kind, resize_tables=resize_tables)
        if not file or not key:
            raise ConfigError("a checkpoint as FILE#KEY", repr(text), "name both, or the file alone")
        return cls(path=Path(file).expanduser(), key=key, weights=kind, resize_tables=resize_tables)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightSet:
    """Tensors by name, and where they are in the file: '' if the file holds nothing else."""

    key: str
    state: Mapping[Any, Any]
    averaged: bool

    def __str__(self) -> str:
        return f"{self.key or 'the whole file'} ({'averaged' if self.averaged else 'raw'})"


def weight_sets(content: Mapping[Any, Any]) -> list[WeightSet]:
    """Every set of weights in a file's content: raw ones first, and of each kind the likeliest first."""
    candidates = [part for key, state in _state_dicts(content, ()) for part in _split(key, state)]
    named = [item for item in candidates if all(isinstance(name, str) for name in item.state)]
    order = {key: rank for rank, key in enumerate(_RAW_KEYS)}
    sets = sorted(named or candidates, key=lambda item: (item.averaged, order.get(item.key, len(order))))
    return sets or [WeightSet(key="", state=content, averaged=False)]


def choose_set(sets: Sequence[WeightSet], *, key: str | None = None, weights: Kind | None = None) -> WeightSet:
    """The set that is asked for.

    Raises:
        CheckpointError: no such set, or several; lists those in the file.
    """
    listed = ", ".join(map(str, sets))
    if key is not None:
        for item in sets:
            if item.key == key:
                return item
        raise CheckpointError(f"weights under {key!r}", listed, "correct the KEY of FILE#KEY, or leave it out")
    averaged = [item for item in sets if item.averaged]
    raw = [item for item in sets if not item.averaged]
    wanted = {"ema": averaged, "raw": raw, None: averaged or raw}[weights]
    if not wanted:
        kind = "averaged" if weights == "ema" else "raw"
        raise CheckpointError(f"{kind} weights in the file", listed, "change --weights, or leave it out")
    if weights is None and not averaged and raw[0].key.rpartition(".")[2] == _STUDENT:
        remedy = f"give the file that has both, or take the student's: FILE#{raw[0].key}"
        raise CheckpointError("a file with the teacher's weights", listed, remedy)
    if len(wanted) > 1 and wanted[0].key not in _RAW_KEYS:
        raise CheckpointError("one set of weights", listed, "name one of them: --checkpoint FILE#KEY")
    if not wanted[0].state:
        raise CheckpointError("averaged weights by name", f"a list under {wanted[0].key}", "give --weights raw")
    return wanted[0]


def _state_dicts(content: Mapping[Any, Any], path: tuple[str, ...]) -> list[tuple[str, Mapping[Any, Any]]]:
    """(dotted path, state) of this mapping or, if they hold more tensors, of the mappings inside it."""
    inside: list[tuple[str, Mapping[Any, Any]]] = []
    for name, value in content.items():
        if not isinstance(name, str) or _NOT_WEIGHTS.search(name) or len(path) == _DEPTH:
            continue
        key = ".".join((*path, name))
        if isinstance(value, Mapping):
            inside += _state_dicts(value, (*path, name))
        elif _is_averaged(key) and isinstance(value, list) and any(isinstance(item, Tensor) for item in value):
            inside.append((key, {}))  # an average without names: nothing can be loaded from it
    own = sum(isinstance(value, Tensor) for value in content.values())  # they may include the best accuracy so far, ...
    if own > sum(len(state) for _, state in inside):
        return [(".".join(path), content)]
    return inside


def _split(key: str, state: Mapping[Any, Any]) -> Iterator[WeightSet]:
    """One set, or several if a state dict holds a model and its average as submodules."""
    parts: dict[str, dict[Any, Any]] = {"": {}}
    for name, value in state.items():
        match = _AVERAGED_MODULE.match(name) if isinstance(name, str) else None
        parts.setdefault(match[1] if match else "", {})[name[match.end() :] if match else name] = value
    raw = {plain(name) for name in parts[""] if isinstance(name, str)}
    for module, part in parts.items():
        mirrored = sum(plain(name) in raw for name in part) if module else 0
        if module and raw and mirrored <= len(part) // 2:  # a module of the model that happens to have that name
            parts = {"": dict(state)}
            break
    for module, part in parts.items():
        counted = any(isinstance(name, str) and name.rpartition(".")[2] == _AVERAGE_COUNTER for name in part)
        path = ".".join(filter(None, (key, module)))
        if part or not state:
            yield WeightSet(key=path, state=part, averaged=bool(module) or counted or _is_averaged(key))


def _is_averaged(key: str) -> bool:
    return _AVERAGED_KEY.search(key) is not None


def plain(name: str) -> str:
    """The name without the prefixes of wrappers: `module._orig_mod.model.fc.weight` is `fc.weight`."""
    return _PREFIX.sub("", _WITHIN.sub("", name))


def is_counter(name: str) -> bool:
    """Whether a tensor of this name is a counter of a profiler or wrapper instead of a weight."""
    return _COUNTER.search(name) is not None


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by plain name, without counters and without the projection head of DINO beside a backbone.

    Raises:
        CheckpointError: two different tensors with the same plain name.
    """
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    projects = any(plain(name).startswith(_LAST_OF_DINO) for name in state)
    for name, value in state.items():
        short = plain(name)
        if is_counter(name) or (projects and short.startswith(_HEAD_OF_DINO)):
            continue
        if short in tensors and not _is_same(tensors[short], value):
            got = f"{origin[short]} and {name}, which differ"
            raise CheckpointError(f"one tensor called {short}", got, "leave the weights of one model in the file")
        tensors[short], origin[short] = value, name
    return tensors


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
