"""stmbench: a fair comparison of spatial token mixers.

The public names are imported when they are first used, so that `import stmbench` costs nothing. timm learns our
model names when both packages are imported, in either order:

    create_model(name, **options)     a model by name, e.g. 'unified_halo_attn_tiny'
    list_models(pattern)              the names there are
    load_checkpoint(model, source)    published weights into a model
    register_mixer(name, ...)         a class decorator that adds a mixer
    tables.read(folder)               a result store as one pandas data frame
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stmbench.architectures import timm_hook

if TYPE_CHECKING:
    from stmbench import tables
    from stmbench.architectures.catalog import create_model, list_models
    from stmbench.checkpoints import load_checkpoint
    from stmbench.mixers.base import register_mixer

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "list_models", "load_checkpoint", "register_mixer", "tables"]

_HOMES = {
    "create_model": "stmbench.architectures.catalog",
    "list_models": "stmbench.architectures.catalog",
    "load_checkpoint": "stmbench.checkpoints",
    "register_mixer": "stmbench.mixers.base",
}


def __getattr__(name: str) -> Any:
    if name == "tables":
        return importlib.import_module("stmbench.tables")
    if not name.startswith("_") and name in (functions := _functions()):
        return functions[name]
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def _functions() -> dict[str, Any]:
    """Name -> function of every analysis that can be asked for, those of installed packages included."""
    importlib.import_module("stmbench.plugins").load_entry_points()
    registry = importlib.import_module("stmbench.analyses.registry")
    names = [spec.name for spec in registry.specs() if spec.options is not None]
    api = importlib.import_module("stmbench.api")
    return {name: api.function_of(name) for name in names}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


timm_hook.install()
