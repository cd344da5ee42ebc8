"""Mixers with one sign or one comparison the wrong way round: what the conformance suite has to notice."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from stmbench.mixers.ops import forget_tables

FLIPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
# what says what is meant (references), what is checked elsewhere (configs), and what runs before a forward pass
LEFT_ALONE = ("reference", "self_attention_reference", "kernel_sum", "interpolation_matrix", "fuse_reference",
              "resized_reference", "spectrum_reference", "inverse_reference",
              "__init__", "__post_init__", "config_at", "_presets", "matrix_rank", "num_heads", "check_mixing_weights",
              "key_bias", "preset", "no_weight_decay", "single_branch", "tensors", "contracted_sums",
              "from_published",
              "contracted_windows", "selective_scan_reference",
              "initial_decays", "initial_mixtures")  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutant:
    """One flipped operator: in which function of which module, and the line as it then reads."""

    module: str
    owner: str | None  # the class, None for a function of the module
    function: str
    number: int  # of the operator within the function
    line: str

    def __str__(self) -> str:
        place = f"{self.owner}.{self.function}" if self.owner else self.function
        return f"{self.module}: {place}: {self.line}"


def mutants(module: str, *, with_backward: bool = False) -> list[Mutant]:
    """Every operator of the module's functions, flipped; annotations and docstrings have none.

    Args:
        with_backward: those of backward passes, too, which the suite checks by gradients.
    """
    flips = []
    for owner, function in _functions(_module(module)):
        if function.name == "backward" and not with_backward:
            continue
        for number in range(len(_operators(function))):
            flipped = copy.deepcopy(function)
            node = _flip(flipped, number)
            line = " ".join(ast.unparse(node).split())[:100]
            flips.append(Mutant(module=module, owner=owner, function=function.name, number=number, line=line))
    return flips


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """The package with this one fault, wherever the function was imported to."""
    module = _module(mutant.module)
    (function,) = [f for owner, f in _functions(module) if (owner, f.name) == (mutant.owner, mutant.function)]
    flipped = copy.deepcopy(function)
    _flip(flipped, mutant.number)
    tree = ast.fix_missing_locations(ast.Module(body=[*_futures(), flipped], type_ignores=[]))
    scope = dict(vars(module))
    exec(compile(tree, f"<{mutant.module}, flipped>", "exec"), scope)
    new = scope[mutant.function]
    places: list[Any] = (
        [vars(module)[mutant.owner]] if mutant.owner
        else [m for name, m in sys.modules.items()
              if name.startswith("stmbench.mixers") and vars(m).get(mutant.function) is vars(module)[mutant.function]]
    )  # fmt: skip
    old = vars(places[0])[mutant.function]
    for place in places:
        setattr(place, mutant.function, new)
    forget_tables()
    try:
        yield
    finally:
        for place in places:
            setattr(place, mutant.function, old)
        forget_tables()  # those that the mutant made


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"stmbench.mixers.{name}")


def _futures() -> list[ast.stmt]:
    return [ast.ImportFrom(module="__future__", names=[ast.alias(name="annotations")], level=0)]


def _functions(module: ModuleType) -> Iterator[tuple[str | None, ast.FunctionDef]]:
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef) and node.name not in LEFT_ALONE:
            yield None, node
        if isinstance(node, ast.ClassDef) and not node.name.endswith("Config"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name not in LEFT_ALONE:
                    yield node.name, method


def _operators(function: ast.FunctionDef) -> list[tuple[ast.AST, int | None]]:
    """The operators in order: (node, index among a comparison's operators or None)."""
    operators: list[tuple[ast.AST, int | None]] = []
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in FLIPPED:
                operators.append((node, None))
            if isinstance(node, ast.Compare):
                operators += [(node, index) for index, op in enumerate(node.ops) if type(op) in FLIPPED]
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
                operators.append((node, None))
    return operators


def _flip(function: ast.FunctionDef, number: int) -> ast.AST:
    node, index = _operators(function)[number]
    if isinstance(node, ast.Compare):
        assert index is not None
        node.ops[index] = FLIPPED[type(node.ops[index])]()  # type: ignore[assignment]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    else:
        assert isinstance(node, ast.BinOp | ast.AugAssign)
        node.op = FLIPPED[type(node.op)]()  # type: ignore[assignment]
    return node
