"""Something that is done around the import of another package's module, whenever that happens, without importing it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import ModuleType

Around = Callable[[], AbstractContextManager[None]]


def around_import(name: str, around: Around) -> None:
    """Run the module within this context when it is imported first; nothing where it is, or where this was asked."""
    asked = any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path)
    if name not in sys.modules and not asked:
        sys.meta_path.insert(0, _Finder(name, around))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module as Python would, once."""

    def __init__(self, name: str, around: Around) -> None:
        self.name, self.around = name, around

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's spec with our loader around its own; None for other modules."""
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.around)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader, around: Around) -> None:
        self.inner, self.around = inner, around

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with self.around():
            self.inner.exec_module(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)  # resource readers and the like
