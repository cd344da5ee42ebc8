"""Which part of the house may import which, and who does not keep to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# the registry of analyses knows none of them
LOW = ("errors", "registry", "bundled", "copies", "plugins", "analyses.registry")
BASE = (*LOW, "tables", "mixers.base")  # what is below the models, and the mixer contract
MODELS = (*LOW, "tables", "kernels", "mixers", "architectures", "checkpoints")

# errors, registry, bundled, tables -> kernels -> mixers -> architectures -> checkpoints -> (data, measure) -> tasks
# -> (analyses, training)
# -> experiments, comparison; tables -> (history, figures) -> reporting -> what an analysis shows; commands on top.
# data and measure take models as arguments, so they need none of the files that make them.
USED_BY_TRAINING = ("base", "models", "options", "unit")
OF_A_RUN = (
    "batches",
    "distributed",
    "recipe",
    "dino_recipe",
    "settings",
)  # what training asks for, which a task is made from
SHOWN = "what an analysis shows"
ALLOWED: dict[str, tuple[str, ...]] = {
    "errors": (),
    "registry": ("errors",),
    "bundled": ("errors",),
    "copies": (),
    "plugins": ("errors", "registry"),
    "tables": LOW,
    "kernels": (*LOW, "tables"),
    "mixers": (*LOW, "tables", "kernels"),
    "architectures": (*LOW, "tables", "kernels", "mixers"),
    "checkpoints": (*LOW, "tables", "mixers", "architectures"),
    "data": BASE,
    "measure": BASE,
    "analyses": (*MODELS, "data", "measure", "tasks"),
    "tasks": (*MODELS, "data", "measure", *(f"training.{name}" for name in OF_A_RUN)),
    "training": (
        *MODELS,
        "tasks",
        "data",
        "measure",
        *(f"analyses.{name}" for name in USED_BY_TRAINING),
    ),
    SHOWN: (*LOW, "tables", "figures", "reporting", "analyses.options"),
    "experiments": (*MODELS, "data", "measure", "tasks", "analyses", "training"),
    "comparison": (*MODELS, "data", "measure", "analyses", "training"),
    "studies": (*MODELS, "data", "measure", "analyses", "training", "experiments"),
    "history": (*LOW, "tables"),
    "figures": (*LOW, "tables"),
    "reporting": (*LOW, "tables", "history", "figures"),
}
# modules of an analysis's folder that show its rows; they may also import one another and the folder's options
SHOWS = ("figures", "section", "terminal", "overview")
ON_TOP = ("", "__main__", "api", "commands")  # the Python API and the command line use everything
# no model code: a figure can be drawn where torch is not installed
DRAWN_FROM_TABLES = ("history", "figures", "reporting", SHOWN)
MODEL_CODE = ("torch", "torchvision", "timm", "fvcore")


def violations(root: Path) -> list[str]:
    """One line for each import, at the top or inside a function, that goes against the drawing.

    `root` is the folder of the package `stmbench`.
    """
    found = []
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        house = SHOWN if _is_shown(parts) else name.split(".")[0]
        for line, target in imports(ast.parse(file.read_text(encoding="utf-8")), parts, root):
            if (complaint := _complaint(house, target, name)) is not None:
                found.append(f"{file.relative_to(root.parent)}:{line}: {complaint}")
    return found


def imports(tree: ast.Module, parts: tuple[str, ...], root: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a module imports, relative imports and import_module('...') included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = ("stmbench", *parts)[: len(parts) + 1 - node.level]
                module = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}" if _is_module(module, alias.name, root) else module
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def _is_shown(parts: tuple[str, ...]) -> bool:
    """Whether a module, by its path, shows the rows of an analysis."""
    return len(parts) > 2 and parts[0] == "analyses" and parts[2] in SHOWS


def _is_module(package: str, name: str, root: Path) -> bool:
    if package.split(".")[0] != "stmbench":
        return False
    path = root.joinpath(*package.split(".")[1:], name)
    return path.is_dir() or path.with_suffix(".py").is_file()


def _complaint(house: str, target: str, name: str) -> str | None:
    top, _, inside = target.partition(".")
    if house in DRAWN_FROM_TABLES and top in MODEL_CODE:
        return f"{house} imports {top}: figures and reports are made of tables alone"
    if top != "stmbench" or house in ON_TOP or not inside:  # `from stmbench import __version__` is everybody's
        return None
    if house not in ALLOWED:
        return f"{house} is not in the drawing: say in tests/architecture_rules/flow.py what it may import"
    if inside.split(".")[0] == house:
        return None
    if house == SHOWN:
        folder = ".".join(name.split(".")[:2])
        if any(f"{inside}.".startswith(f"{folder}.{module}.") for module in (*SHOWS, "options")):
            return None
    if any(f"{inside}.".startswith(f"{name}.") for name in ALLOWED[house]):
        return None
    # the empty __init__ of a package comes with every module in it
    if any(name.startswith(f"{inside}.") for name in ALLOWED[house]):
        return None
    return f"{house} imports stmbench.{inside}: it may use {', '.join(ALLOWED[house]) or 'nothing of ours'}"
