"""Registers our models with timm as soon as both packages are imported, in either order, without importing timm.

`accept_brackets` lets timm take our names with options in brackets.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, cast

from stmbench.architectures.without_compiler import marked_later


def install() -> None:
    """Register our models now if timm has been imported, or else as soon as it is."""
    if "timm" in sys.modules:
        _register()
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())


# registering works while these modules of ours are still being imported
_SAFE_WHILE_IMPORTING = ("base", "catalog", "model_names", "timm_hook", "timm_registry")


def _register() -> None:
    """Register our models, unless a module of our own networks imported timm: then create_model does it later."""
    if _is_importing_a_network():
        return
    from stmbench.architectures import timm_registry

    timm_registry.register_all()


def _is_importing_a_network() -> bool:
    """Whether a module of a mixer or an architecture is being imported right now."""
    for name, module in list(sys.modules.items()):
        package, _, last = name.rpartition(".")
        ours = package == "stmbench.architectures" and last not in _SAFE_WHILE_IMPORTING
        if (ours or package.startswith("stmbench.mixers")) and getattr(module.__spec__, "_initializing", False):
            return True
    return False


class _TimmFinder(importlib.abc.MetaPathFinder):
    """Finds timm as Python would, and registers our models once it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of timm with our loader around its own; None for other modules."""
        if fullname != "timm":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader) -> None:
        self.inner = inner

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with marked_later():
            self.inner.exec_module(module)
        _register()

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)  # resource readers and the like


def accept_brackets(is_ours: Callable[[str], bool]) -> None:
    """Wrap the functions of timm's `create_model` that read a name, so that our names may have options in brackets.

    timm knows no such options, and cuts a name at its first dot (`resnet50.a1_in1k`). Names that are not `is_ours` are
    treated as before. Code that imported `create_model` earlier is served too: it looks these up in timm's module.
    """
    from timm.models import _factory

    from stmbench.architectures.model_names import split_options

    factory: Any = _factory
    split_tag, is_model, entrypoint = factory.split_model_name_tag, factory.is_model, factory.model_entrypoint

    def split_model_name_tag(model_name: str, no_tag: str = "") -> tuple[str, str]:
        """timm's, except that a dot inside our brackets (`[layer_scale=0.1]`) does not begin a tag."""
        return (model_name, no_tag) if is_ours(model_name) else cast(tuple[str, str], split_tag(model_name, no_tag))

    def is_model_or_ours(model_name: str) -> bool:
        return is_ours(model_name) or bool(is_model(model_name))

    def model_entrypoint(model_name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """timm's; options in brackets are defaults of the keyword arguments."""
        if not is_ours(model_name):
            return cast(Callable[..., Any], entrypoint(model_name, *args, **kwargs))
        base, options = split_options(model_name)
        return functools.partial(entrypoint(base, *args, **kwargs), **options)

    factory.split_model_name_tag = split_model_name_tag
    factory.is_model = is_model_or_ours
    factory.model_entrypoint = model_entrypoint
