"""What shell completion offers. Names come from light modules only: a Tab key press must not import torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stmbench.mixers import BUILTIN

SCALE_NAMES = ("nano", "micro", "tiny", "small", "base")
SCALES_HELP = f"Size of the models: {', '.join(SCALE_NAMES)}."
DTYPE_NAMES = ("fp32", "tf32", "bf16", "fp16")
CLASS_MAPS = ("imagenet-1k", "imagenet-a", "imagenet-r", "imagenet-real", "imagenet-v2", "numbers")
DATASET_NAMES = ("digits", "photos", "shapes")


def _one_of(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def _list_of(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Completes the last item of a comma-separated list."""

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        return [f"{done}{comma}{name}" for name in names if name.startswith(last)]

    return complete


scales = _one_of(SCALE_NAMES)
devices = _one_of(("auto", "cpu", "cuda"))
dtypes = _list_of(DTYPE_NAMES)
weights = _one_of(("ema", "raw"))
mixers = _list_of(BUILTIN)
models = _list_of(tuple(f"unified_{mixer}_{scale}" for mixer in BUILTIN for scale in SCALE_NAMES))


def classes(incomplete: str) -> list[str]:
    """Mappings by name, and files and folders that begin as typed."""
    return [name for name in CLASS_MAPS if name.startswith(incomplete)] + _paths(incomplete)


def datasets(incomplete: str) -> list[str]:
    """Embedded sets, and files and folders that begin as typed."""
    return [name for name in DATASET_NAMES if name.startswith(incomplete)] + _paths(incomplete)


def python_files(incomplete: str) -> list[str]:
    """Python files and folders that begin as typed."""
    return [path for path in _paths(incomplete) if path.endswith((".py", "/"))]


def _paths(incomplete: str) -> list[str]:
    typed = Path(incomplete)
    folder = typed if incomplete.endswith("/") else typed.parent
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [f"{path}/" if path.is_dir() else str(path) for path in found if str(path).startswith(incomplete)]
