"""What a module computes, as a hash: its code, the settings of its parts, and its weights.

Two modules with the same fingerprint give the same outputs, in this process and in any other. A change of anything that
is hashed gives another fingerprint, so a fingerprint errs on the side of measuring again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.errors import InputError

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
