"""Models given as objects: a module of the user, of timm, torchvision or Hugging Face, behind a name.

`model_name_of(module)` registers a module in this process and returns `module:ResNet-3fa9c1d2`: its class and the start
of its fingerprint. The name is taken wherever a model's name is, and `create_model` gives a deep copy for it, so that
the module itself is never moved, switched to another mode or changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from stmbench.architectures.fingerprints import code_hash, weights_hash
from stmbench.architectures.input_config import input_config, timm_config
from stmbench.architectures.model_names import MODULE
from stmbench.architectures.module_copies import LABEL, GivenModel, Returned, prepared_copy
from stmbench.errors import ConfigError, InputError

WEIGHTS: Final = "given:"  # the table's `weights` of a given module; behind it the start of the weights' hash
_SHOWN: Final = 8  # digits of a hash in a name


@dataclasses.dataclass(kw_only=True)
class _Entry:
    given: GivenModel
    fingerprint: str
    weights: str
    returned: Returned | None = None


_GIVEN: dict[str, _Entry] = {}


def model_name_of(model: str | nn.Module | GivenModel, **options: Any) -> str:
    """The name that stands for a model in this process: of a module its class's with its fingerprint, of a name itself.

    The module is not copied: while its name is in use its weights have to stay as they are, which is checked whenever
    it is built. A module of the same class, code, settings and weights has the same name in every process.

    Args:
        options: fields of `GivenModel`, for a module.

    Raises:
        ConfigError: see `GivenModel`; a module that cannot be copied. InputError: one without weights.
    """
    if isinstance(model, str):
        if options:
            raise ConfigError("a module, to have options", f"the name {model!r}", "put its options into brackets")
        return model
    given = model if isinstance(model, GivenModel) else GivenModel(module=model)
    if options:
        given = dataclasses.replace(given, **options)
    said = {field: getattr(given, field) for field in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    given = dataclasses.replace(given, transforms=None, **input_config(given.module, given.transforms, said))
    weights = weights_hash(given.module)
    facts = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    del facts["module"], facts["name"]
    fingerprint = hashlib.sha256(f"{code_hash(given.module)} {weights} {sorted(facts.items())}".encode()).hexdigest()
    name = f"{MODULE}{given.name or _label(given.module)}-{fingerprint[:_SHOWN]}"
    _GIVEN[name] = _Entry(given=given, fingerprint=fingerprint, weights=weights)
    return name


def release_models(names: Iterable[str]) -> None:
    """Forget the modules behind these names; other names are left alone."""
    for name in names:
        _GIVEN.pop(name, None)


def is_given(name: str) -> bool:
    """Whether a model's name stands for a module given as an object."""
    return name.startswith(MODULE)


def fingerprints_of(names: Iterable[str]) -> dict[str, str]:
    """name -> SHA-256 of everything that the module's results depend on, for those given as objects."""
    return {name: _entry(name).fingerprint for name in names if is_given(name)}


def given_weights(name: str) -> str:
    """The table's `weights` of a given module: the start of its weights' hash."""
    return f"{WEIGHTS}{_entry(name).weights[:_SHOWN]}"


def copy_of(name: str, *, without_storage: bool = False) -> nn.Module:
    """A deep copy that works like stmbench's own models, see `module_copies`.

    Args:
        without_storage: leave the values out, for what asks for modules and shapes alone.

    Raises:
        InputError: a name that stands for nothing here, or weights that changed since it was given.
    """
    entry = _entry(name)
    if not without_storage and weights_hash(entry.given.module) != entry.weights:
        got = "other weights than when it was named"
        raise InputError(f"the module that {name} stands for", got, "give the module itself once more")
    network, entry.returned = prepared_copy(entry.given, entry.returned, without_storage=without_storage)
    return network


def save_given(name: str, file: Path) -> bool:
    """Write a given module for another process; False where that one could not read it.

    What lives in `__main__` (a notebook's classes) or cannot be pickled does not travel.
    """
    entry = _entry(name)
    try:
        torch.save({"name": name, **vars(entry)}, file)
    except Exception:  # pickling runs the objects' own code
        return False
    with zipfile.ZipFile(file) as archive:
        pickles = [archive.read(part) for part in archive.namelist() if part.endswith("data.pkl")]
    return not any(b"__main__" in text for text in pickles)


def load_given(file: Path) -> str:
    """Register what `save_given` wrote in a process of this user's; returns its name. The file is code: see pickle."""
    found = torch.load(file, map_location="cpu", weights_only=False)
    name = str(found.pop("name"))
    _GIVEN[name] = _Entry(**found)
    return name


def _entry(name: str) -> _Entry:
    if name not in _GIVEN:
        remedy = "give the module itself, from Python: it is known in the process that it was given in"
        raise InputError("a model that is known here", repr(name), remedy)
    return _GIVEN[name]


def _label(module: nn.Module) -> str:
    name = str(timm_config(module).get("architecture") or "")
    return name if LABEL.fullmatch(name) else type(module).__name__
