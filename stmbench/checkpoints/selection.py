"""Which weights of a file: training scripts keep the raw ones and their running average side by side."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from stmbench.checkpoints.naming import plain
from stmbench.errors import CheckpointError, ConfigError

Kind = Literal["ema", "raw"]
KINDS: tuple[Kind, ...] = ("ema", "raw")

# where training scripts keep the raw weights, in order of preference
_RAW_KEYS = (
    *("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network"),
    *("weights", "params", "student"),
)
# timm's state_dict_ema, DeiT's model_ema, PyTorch's swa_model, mean teachers, ...
_AVERAGED_KEY = re.compile(
    r"(?:^|[^a-zA-Z])(?i:ema|swa|averaged?|polyak|teacher)(?:[^a-zA-Z]|$)|EMA|[a-z]Ema", re.ASCII
)
# a wrapper that holds both models as submodules, as Lightning's modules do, writes them into one state dict
_AVERAGED_MODULE = re.compile(r"^((?:module\.)?(?:\w+_(?:ema|swa)|(?:ema|swa|averaged)(?:_\w+)?))\.")
_COUNTER = "n_averaged"  # torch.optim.swa_utils.AveragedModel's count of updates
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|loss|criterion|args|config|hyper|rng|meta", re.IGNORECASE)
_DEPTH = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file, and which of its weights.

    Attributes:
        key: the place of the weights in the file, such as 'model_ema'; None leaves the choice to `weights`.
        weights: 'ema' for the running average, 'raw' for the weights that were trained; None is the average where
            there is one, as papers report it.
        resize_tables: whether tables of positions are resized where the model's window or resolution is another.
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
        """`FILE` or `FILE#KEY`; a file that has a '#' in its name wins. Raises ConfigError."""
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
    """Tensors by name, and their place in the file: '' where the file holds nothing else."""

    key: str
    state: Mapping[Any, Any]
    averaged: bool

    def __str__(self) -> str:
        return f"{self.key or 'the whole file'} ({'averaged' if self.averaged else 'raw'})"


def weight_sets(content: Mapping[Any, Any]) -> list[WeightSet]:
    """Every set of weights in what a file holds, raw ones first, the likeliest of each kind first."""
    found = [part for key, state in _found(content, ()) for part in _split(key, state)]
    named = [item for item in found if all(isinstance(name, str) for name in item.state)]
    order = {key: place for place, key in enumerate(_RAW_KEYS)}
    sets = sorted(named or found, key=lambda item: (item.averaged, order.get(item.key, len(order))))
    return sets or [WeightSet(key="", state=content, averaged=False)]


def chosen(sets: Sequence[WeightSet], *, key: str | None = None, weights: Kind | None = None) -> WeightSet:
    """The one set that is meant.

    Raises:
        CheckpointError: no such set, or several of them; names those that are there.
    """
    there = ", ".join(map(str, sets))
    if key is not None:
        for item in sets:
            if item.key == key:
                return item
        raise CheckpointError(f"weights under {key!r}", there, "correct the KEY of FILE#KEY, or leave it out")
    averaged = [item for item in sets if item.averaged]
    raw = [item for item in sets if not item.averaged]
    wanted = {"ema": averaged, "raw": raw, None: averaged or raw}[weights]
    if not wanted:
        kind = "averaged" if weights == "ema" else "raw"
        raise CheckpointError(f"{kind} weights in the file", there, "change --weights, or leave it out")
    if len(wanted) > 1 and wanted[0].key not in _RAW_KEYS:
        raise CheckpointError("one set of weights", there, "name one of them: --checkpoint FILE#KEY")
    if not wanted[0].state:
        raise CheckpointError("averaged weights by name", f"a list under {wanted[0].key}", "give --weights raw")
    return wanted[0]


def _found(content: Mapping[Any, Any], place: tuple[str, ...]) -> list[tuple[str, Mapping[Any, Any]]]:
    """(dotted place, state) of this mapping or, where they hold more tensors, of the mappings inside it."""
    inside: list[tuple[str, Mapping[Any, Any]]] = []
    for name, value in content.items():
        if not isinstance(name, str) or _NO_WEIGHTS.search(name) or len(place) == _DEPTH:
            continue
        key = ".".join((*place, name))
        if isinstance(value, Mapping):
            inside += _found(value, (*place, name))
        elif _is_averaged(key) and isinstance(value, list) and any(isinstance(item, Tensor) for item in value):
            inside.append((key, {}))  # an average without names, from which nothing can be loaded
    own = sum(isinstance(value, Tensor) for value in content.values())  # among them the best accuracy so far, ...
    if own > sum(len(state) for _, state in inside):
        return [(".".join(place), content)]
    return inside


def _split(key: str, state: Mapping[Any, Any]) -> Iterator[WeightSet]:
    """One set, or several where a state dict holds a model and its average as submodules."""
    parts: dict[str, dict[Any, Any]] = {"": {}}
    for name, value in state.items():
        match = _AVERAGED_MODULE.match(name) if isinstance(name, str) else None
        parts.setdefault(match[1] if match else "", {})[name[match.end() :] if match else name] = value
    raw = {plain(name) for name in parts[""] if isinstance(name, str)}
    for module, part in parts.items():
        mirrored = sum(plain(name) in raw for name in part) if module else 0
        if module and raw and mirrored <= len(part) // 2:  # a part of the model that happens to be called so
            parts = {"": dict(state)}
            break
    for module, part in parts.items():
        counted = any(isinstance(name, str) and name.rpartition(".")[2] == _COUNTER for name in part)
        place = ".".join(filter(None, (key, module)))
        if part or not state:
            yield WeightSet(key=place, state=part, averaged=bool(module) or counted or _is_averaged(key))


def _is_averaged(key: str) -> bool:
    return _AVERAGED_KEY.search(key) is not None
