"""Registers our models with timm as soon as both packages are imported, in either order, without importing timm.

`accept_brackets` lets timm take our names with options in brackets.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

from stmbench.architectures.import_hooks import around_import
from stmbench.architectures.without_compiler import marked_later


def install() -> None:
    """Register our models now if timm has been imported, or else as soon as it is."""
    if "timm" in sys.modules:
        _register()
    else:
        around_import("timm", _registering)


# registering works while these modules of ours are still being imported
_SAFE_WHILE_IMPORTING = ("base", "catalog", "model_names", "timm_hook", "timm_registry")


@contextlib.contextmanager
def _registering() -> Iterator[None]:
    """Around timm's import: quick, and with our models at its end."""
    with marked_later():
        yield
    _register()


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
