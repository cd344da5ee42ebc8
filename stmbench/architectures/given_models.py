"""Models given as objects: a module of the user, of timm, torchvision or Hugging Face, behind a name.

`model_name_of(module)` registers a module in this process and returns `module:ResNet-3fa9c1d2`: its class and the start
of its fingerprint, a hash of its code and weights. The name is taken wherever a model's name is, and `create_model`
gives a deep copy for it, so that the module itself is never moved, switched to another mode or changed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import types
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from stmbench.architectures.input_config import input_config, timm_config
from stmbench.architectures.model_names import MODULE
from stmbench.architectures.module_copies import LABEL, GivenModel, Returned, prepared_copy
from stmbench.errors import ConfigError, InputError

_PLAIN = str | bytes | bool | int | float | complex | torch.dtype | torch.Size | None
_OF_TORCH = frozenset(vars(nn.Module())) | {"_is_torch_compile"}  # bookkeeping of every module
_DEPTH = 4  # of nested settings


def code_hash(module: nn.Module) -> str:
    """SHA-256, in hex, of the classes of a module and of its parts, with their sources, and of their settings.

    Settings are the plain values among a part's attributes (numbers, texts, and lists, dicts, dataclasses or configs of
    them): modules of one class and of equal weights may differ in a stride or in a number of heads.
    """
    found = hashlib.sha256()
    for path, part in module.named_modules():
        found.update(f"{path}\0{class_hash(type(part))}\0".encode())  # type: ignore[arg-type]  # a type is hashable
        for name, value in sorted(vars(part).items()):
            is_cache = name.startswith("_") and not isinstance(value, _PLAIN | tuple)  # filled by a forward pass
            if name not in _OF_TORCH and not is_cache and not isinstance(value, torch.device):
                found.update(f"{name}={_setting(value)}\0".encode("utf-8", "surrogateescape"))
        if isinstance(code := getattr(part, "code", None), str):  # of TorchScript and torch.fx, whose classes have none
            found.update(code.encode())
    return found.hexdigest()


def weights_hash(module: nn.Module) -> str:
    """SHA-256, in hex, of names, shapes, dtypes and values of all parameters and buffers, wherever they are stored.

    Raises:
        InputError: a tensor without values (lazy, or on the meta device).
    """
    found = hashlib.sha256()
    for name, tensor in _tensors(module):
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            remedy = "load its weights, or run it on an image once, before it is measured"
            raise InputError("a module with weights", f"{name} without values", remedy)
        found.update(f"{name}\0{tensor_hash(tensor)}\0".encode())
    return found.hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256, in hex, of a tensor's shape, dtype and values."""
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    found = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}\0".encode())
    whole = (dense.int_repr() if dense.is_quantized else dense).cpu().contiguous().reshape(-1)
    found.update(whole.view(torch.uint8).numpy().data)
    return found.hexdigest()


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


@functools.lru_cache(maxsize=4096)
def class_hash(kind: type) -> str:
    """SHA-256, in hex, of a class's name and source, and of those of its bases outside of torch.

    Functions without a source (compiled, or typed in where no file keeps it) stand for themselves by their bytecode.
    """
    found = hashlib.sha256()
    for base in kind.__mro__:
        if base in (nn.Module, object):
            break
        if base.__module__.partition(".")[0] == "torch":
            found.update(f"{base.__module__}.{base.__qualname__}\0".encode())
            continue
        # where a class lives is no matter of what it computes: a script's is '__main__'
        found.update(f"{base.__qualname__}\0".encode())
        for name, value in sorted(vars(base).items()):
            if (source := _source(value)) is not None:
                found.update(f"{name}\0{source}\0".encode())
            elif not name.startswith("__") and isinstance(value, _PLAIN):
                found.update(f"{name}={value!r}\0".encode())
    return found.hexdigest()


def _source(value: Any) -> str | None:
    """The source of a function or of what wraps one; None for anything else."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        return "\0".join(_source(part) or "" for part in (value.fget, value.fset))
    value = inspect.unwrap(value) if callable(value) else value
    if not isinstance(value, types.FunctionType):
        return None
    try:
        return inspect.getsource(value)
    except (OSError, TypeError, IndexError, SyntaxError):
        return _bytecode(value.__code__)


def _bytecode(code: types.CodeType) -> str:
    constants = [_bytecode(c) if isinstance(c, types.CodeType) else _setting(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _setting(value: Any, depth: int = _DEPTH) -> str:
    """A value in words that are the same in every process; what is not plain is named by its class or function."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Tensor):  # an attribute that is no buffer
        return tensor_hash(value)
    if depth and isinstance(value, list | tuple | set | frozenset):
        items = [_setting(item, depth - 1) for item in value]
        return f"[{', '.join(sorted(items) if isinstance(value, set | frozenset) else items)}]"
    if depth and isinstance(value, Mapping):
        return f"{{{', '.join(f'{_setting(k, 1)}: {_setting(v, depth - 1)}' for k, v in value.items())}}}"
    kind = type(value)
    if depth and dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{kind.__qualname__}{_setting(fields, depth - 1)}"
    if depth and not isinstance(value, nn.Module | type) and callable(to_dict := getattr(value, "to_dict", None)):
        return f"{kind.__qualname__}{_setting(to_dict(), depth - 1)}"
    if isinstance(value, functools.partial):
        inner = (value.func, value.args, value.keywords)
        return f"partial{_setting(inner, max(depth - 1, 1))}"
    if isinstance(value, types.FunctionType):
        return f"{value.__qualname__} {_source(value)}"
    return str(getattr(value, "__qualname__", kind.__qualname__))


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


def num_classes_of(name: str) -> int | None:
    """The number of a given module's logits; None where neither it nor its caller says, and a try does not either."""
    return getattr(copy_of(name), "num_classes", None)


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
