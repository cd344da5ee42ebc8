"""Lets timm and torchvision be imported without torch's compiler, which takes longer to import than they do.

timm marks a few functions of one model with `torch.compiler.disable`: meanwhile that is the form which torch itself
uses, and which imports the compiler when such a function is called. `torchvision.ops.roi_align` imports
`torch._dynamo.utils` for `is_compile_supported`, which it calls on a GPU alone: while that one module is being run, a
stand-in has the place of `torch._dynamo.utils`, and whatever is asked of it is answered by the real one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from stmbench.architectures.import_hooks import around_import

MODULE, COMPILER, ASKED = "torchvision.ops.roi_align", "torch._dynamo.utils", "is_compile_supported"


def install() -> None:
    """From now on, unless torchvision is imported already."""
    if "torchvision" not in sys.modules:
        around_import(MODULE, _without)


@contextmanager
def marked_later() -> Iterator[None]:
    """Meanwhile `torch.compiler.disable` marks functions without importing the compiler: timm is being imported."""
    import torch

    usual: Any = torch.compiler.disable
    later = getattr(torch, "_disable_dynamo", None)

    def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
        return usual(fn, recursive, reason=reason) if later is None else later(fn, recursive)

    torch.compiler.disable = disable
    try:
        yield
    finally:
        torch.compiler.disable = usual


@contextmanager
def _without() -> Iterator[None]:
    """Meanwhile the stand-in has the compiler's place, unless it is imported."""
    if COMPILER in sys.modules:
        yield
        return
    stand_in = _StandIn(COMPILER)
    sys.modules[COMPILER] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is stand_in:
            del sys.modules[COMPILER]


class _StandIn(ModuleType):
    """The compiler's module: one function that imports it when it is called; anything else imports it at once."""

    def __getattr__(self, name: str) -> Any:
        if name == ASKED:
            return _asked_later(name)
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return importlib.import_module(COMPILER)


def _asked_later(name: str) -> Callable[..., Any]:
    def asked(*args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(COMPILER), name)(*args, **options)

    return asked
