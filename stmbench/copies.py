"""Deep copies of modules that keep tensors which they computed: torch refuses to copy a tensor that has a graph."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
_WHOLE: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, bytes, int, float, complex)


def copied(module: M, *, without_storage: bool = False) -> M:
    """A deep copy. In it tensors that have a graph (cached weights, the last attention map) are without one.

    Args:
        without_storage: all tensors go to the meta device, where they have no values; no memory is allocated.
    """
    memo: dict[int, Any] = {}
    for tensor in tensors_of(module):
        if without_storage:
            empty = torch.empty_like(tensor, device="meta", requires_grad=False)
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty
        elif not tensor.is_leaf:
            memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(module, memo)


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Every tensor that a deep copy of a module would copy, each once: of attributes, in containers and in objects."""
    seen: dict[int, Any] = {}  # keeps what it holds alive, so that no number is used twice
    left: list[Any] = [module]
    while left:
        item = left.pop()
        if id(item) in seen or isinstance(item, _WHOLE):
            continue
        seen[id(item)] = item
        if isinstance(item, Tensor):
            yield item
        else:
            left += reversed(_inside(item))


def _inside(item: Any) -> list[Any]:
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    if isinstance(item, types.MethodType):
        return [item.__self__]
    if isinstance(item, functools.partial):
        return [item.func, item.args, item.keywords]
    slots = (name for kind in type(item).__mro__ for name in _names(vars(kind).get("__slots__", ())))
    return [getattr(item, "__dict__", {}), *(getattr(item, name) for name in slots if hasattr(item, name))]


def _names(slots: Any) -> tuple[str, ...]:
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))
