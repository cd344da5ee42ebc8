"""Einstein sums: what the contraction costs, pair by pair, in the order in which it is carried out."""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.dataflow import is_sampled
from stmbench.measure.counting.handles import Call, handle
from stmbench.measure.counting.tally import Tally


@handle("aten::einsum")
def einsum(call: Call) -> Tally:
    """The equation's pairwise contractions; elementwise products, which sum over nothing, are free."""
    shapes = call.tensors(1)
    path = call.constant(2) if len(call.inputs) > 2 else None
    macs = contraction_macs(call.constant(0), shapes, path)
    if macs == 0:
        return Tally()
    sampled = any(is_sampled(operand) for operand in call.inputs[1].node().inputs())
    return call.tally("sampling" if sampled else "matmul", macs)


def contraction_macs(equation: str, shapes: list[tuple[int, ...]], path: list[int] | None = None) -> int:
    """Multiply-adds of `torch.einsum(equation, ...)` on operands of these shapes.

    Args:
        equation: with or without spaces, ellipses and an arrow.
        shapes: one per operand.
        path: the pairs, flattened, as opt_einsum gives them (each result goes to the end); left to right if None.
    """
    sides = equation.replace(" ", "").split("->")
    terms = sides[0].split(",")
    named = [_names(term, len(shape)) for term, shape in zip(terms, shapes, strict=True)]
    # a broadcast axis has length 1 in one operand
    sizes: dict[str, int] = {}
    for names, shape in zip(named, shapes, strict=True):
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(sizes.get(name, 1), size)
    kept = _output(sides[1], named) if len(sides) > 1 else _implicit_output(terms, named)
    operands = [set(names) for names in named]
    pairs = list(zip(path[::2], path[1::2], strict=True)) if path else []
    macs = 0
    while len(operands) > 1:
        left, right = pairs.pop(0) if pairs else (0, 1)
        pair = [operands.pop(index) for index in sorted((left, right), reverse=True)]
        together = pair[0] | pair[1]
        needed = kept.union(*operands)
        if not together <= needed:
            macs += prod(sizes[name] for name in together)
        result = together & needed
        # a given path puts each result last; left to right keeps it first
        operands.insert(len(operands) if path else 0, result)
    return macs


def _names(term: str, dimensions: int) -> list[str]:
    """A name per axis; those of an ellipsis are counted from the right, as broadcasting aligns them."""
    if "..." not in term:
        return list(term)
    before, after = term.split("...")
    hidden = dimensions - len(before) - len(after)
    return [*before, *(f"...{hidden - i}" for i in range(hidden)), *after]


def _output(term: str, named: list[list[str]]) -> set[str]:
    dots = {name for names in named for name in names if name.startswith("...")}
    return set(term.replace("...", "")) | (dots if "..." in term else set())


def _implicit_output(terms: list[str], named: list[list[str]]) -> set[str]:
    """Without an arrow: the indices that occur once, and those of the ellipsis."""
    letters = "".join(terms)
    return {name for names in named for name in names if name.startswith("...") or letters.count(name) == 1}
