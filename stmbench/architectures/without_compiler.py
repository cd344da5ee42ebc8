"""Lets timm and torchvision be imported without torch's compiler, which takes longer to import than they do.

timm marks a few functions of one model with `torch.compiler.disable`: meanwhile that is the form which torch itself
uses, and which imports the compiler when such a function is called. `torchvision.ops.roi_align` imports
`torch._dynamo.utils` for `is_compile_supported`, which it calls on a GPU alone: while that one module is being run, a
stand-in has the place of `torch._dynamo.utils`, and whatever is asked of it is answered by the real one.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

MODULE, COMPILER, ASKED = "torchvision.ops.roi_align", "torch._dynamo.utils", "is_compile_supported"


def install() -> None:
    """From now on, unless torchvision is imported already."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


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


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module as Python would, and runs it beside the stand-in."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of the module with our loader around its own; None for other modules."""
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None and COMPILER not in sys.modules:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader) -> None:
        self.inner = inner

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        stand_in = _StandIn(COMPILER)
        sys.modules[COMPILER] = stand_in
        try:
            self.inner.exec_module(module)
        finally:
            if sys.modules.get(COMPILER) is stand_in:
                del sys.modules[COMPILER]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)  # resource readers and the like


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
