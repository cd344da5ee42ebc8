"""stmbench: a fair comparison of spatial token mixers.

    import stmbench as sb

    result = sb.erf(["unified_halo_attn_nano", my_module], images="photos", num_images=16)
    result.table, result.summary(), result.plot(), result.report("erf.html")

Public names are imported when they are first used, so that `import stmbench` costs nothing. timm learns our model
names when both packages are imported, in either order. An analysis of a plug-in is a function here, too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stmbench.architectures import timm_hook, without_compiler

if TYPE_CHECKING:
    from stmbench import tables
    from stmbench.analyses.registry import register_analysis
    from stmbench.api.commands import (
        check,
        convert,
        list_analyses,
        list_architectures,
        list_experiments,
        list_mixers,
        run,
    )
    from stmbench.api.functions import (
        affinity,
        box_consistency,
        corruption,
        detection,
        erf,
        eval,
        frequency,
        invariance,
        probe,
        profile,
        robustness,
        similarity,
        train,
    )
    from stmbench.api.history import add_to_history, dashboard, list_history, prune_history
    from stmbench.api.results import Result
    from stmbench.api.stores import Comparison, compact_store, compare, export, read, report
    from stmbench.api.study import StudyResult, study
    from stmbench.architectures.catalog import create_model, list_models
    from stmbench.architectures.module_copies import GivenModel
    from stmbench.checkpoints import load_checkpoint
    from stmbench.errors import StmbenchError
    from stmbench.mixers.base import register_mixer

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "GivenModel",
    "Result",
    "StmbenchError",
    "StudyResult",
    "__version__",
    "add_to_history",
    "affinity",
    "box_consistency",
    "check",
    "compact_store",
    "compare",
    "convert",
    "corruption",
    "create_model",
    "dashboard",
    "detection",
    "erf",
    "eval",
    "export",
    "frequency",
    "invariance",
    "list_analyses",
    "list_architectures",
    "list_experiments",
    "list_history",
    "list_mixers",
    "list_models",
    "load_checkpoint",
    "probe",
    "profile",
    "prune_history",
    "read",
    "register_analysis",
    "register_mixer",
    "report",
    "robustness",
    "run",
    "similarity",
    "study",
    "tables",
    "train",
]

_NAMES_OF = {
    "stmbench.analyses.registry": ("register_analysis",),
    "stmbench.api.commands": (
        "check",
        "convert",
        "list_analyses",
        "list_architectures",
        "list_experiments",
        "list_mixers",
        "run",
        "train",
    ),
    "stmbench.api.results": ("Result",),
    "stmbench.api.study": ("StudyResult", "study"),
    "stmbench.api.history": ("add_to_history", "dashboard", "list_history", "prune_history"),
    "stmbench.api.stores": ("Comparison", "compact_store", "compare", "export", "read", "report"),
    "stmbench.architectures.catalog": ("create_model", "list_models"),
    "stmbench.architectures.module_copies": ("GivenModel",),
    "stmbench.checkpoints": ("load_checkpoint",),
    "stmbench.errors": ("StmbenchError",),
    "stmbench.mixers.base": ("register_mixer",),
}
_HOMES = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "tables":
        return importlib.import_module("stmbench.tables")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if not name.startswith("_"):
        importlib.import_module("stmbench.plugins").load_entry_points()
        registry = importlib.import_module("stmbench.analyses.registry")
        if any(spec.name == name and spec.options is not None for spec in registry.specs()):
            return importlib.import_module("stmbench.api.analyses").function_of(name)
    message = f"module {__name__!r} has no attribute {name!r}"
    if not name.startswith("_"):  # `plugins=` of the call would come too late: there is no function yet to be called
        message += "; if it is an analysis of a plug-in, load the file first: stmbench.plugins.load_plugin('FILE.py')"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


timm_hook.install()
without_compiler.install()
