"""Recurrences written as elementwise operations: scans that carry a state along positions, stepwise or by doubling.

    h_t = a_t * h_(t-1) + b_t

costs one multiply-add per element and step, like a convolution or product with the same result. A step is a sum that
contains a product, one factor of which is the sum of another step, and that has slices of a tensor (the positions)
among its operands. Chains without slices (polynomials, the gates of a layer) carry nothing along positions.

The project's own scans are one operation each in a trace, and cost what they would written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import _C

from stmbench.measure.counting.free_operations import REARRANGING
from stmbench.measure.counting.handles import Call, Tally, handle, is_integer, origin

SUMS = frozenset({"aten::add", "aten::add_", "aten::sub", "aten::sub_", "aten::rsub"})
FUSED = frozenset({"aten::addcmul", "aten::addcmul_"})
PRODUCTS = frozenset({"aten::mul", "aten::mul_", "aten::multiply", "aten::multiply_"})
_SLICES = frozenset(
    {
        "aten::select", "aten::slice", "aten::narrow", "aten::unbind", "aten::split", "aten::split_with_sizes",
        "aten::chunk", "aten::index", "aten::index_select", "aten::unsafe_chunk", "aten::unsafe_split",
        "aten::tensor_split",
    }
)  # fmt: skip
# operations between one step and the next: shifts, padding, concatenation, activation functions
_PASSING = REARRANGING | frozenset(
    {
        "aten::cat", "aten::concat", "aten::constant_pad_nd", "aten::pad", "aten::roll", "aten::stack", "aten::relu",
        "aten::sigmoid", "aten::silu", "aten::tanh", "prim::ListConstruct", "prim::ListUnpack",
    }
)  # fmt: skip


@handle(*sorted(SUMS | FUSED))
def step(call: Call) -> Tally:
    """One multiply-add per element if a state is carried; any other sum is free, and so is arithmetic on indices."""
    node = call.outputs[0].node()
    products = _products(node)
    if not products or is_integer(call.outputs[0]) or not _takes_slices(node, products):
        return Tally()
    factors = [factor for product in products for factor in product]
    if not any(_comes_from_step(factor) for factor in factors) and not _feeds_step(call.outputs[0]):
        return Tally()
    call.covers(*(origin(value) for value in node.inputs()))
    return call.tally("recurrence", prod(call.output))


@handle("stmbench::linear_scan")
def linear_scan(call: Call) -> Tally:
    """One multiply-add per element and step."""
    return call.tally("recurrence", prod(call.output))


@handle("stmbench::selective_scan")
def selective_scan(call: Call) -> Tally:
    """For each state and position one multiply-add of the recurrence and one of the product with C.

    The exponents, their exponentials and delta u are elementwise; the product with B belongs to the sum, as in a loop.
    """
    channels, states = prod(call.shape(0)), prod(call.shape(0)) * call.shape(2)[1]
    return Tally(
        kinds={"recurrence": states, "matmul": states},
        activations=states + channels,
        elements_moved=call.elements_moved,
        elementwise=2 * states + channels,
    )


def _products(node: _C.Node) -> list[list[_C.Value]]:
    """The factors of each product among the terms of a sum."""
    if node.kind() in FUSED:
        return [list(node.inputs())[1:3]]
    if node.kind() not in SUMS:
        return []
    sources = [origin(value) for value in list(node.inputs())[:2]]
    return [list(source.inputs())[:2] for source in sources if source.kind() in PRODUCTS]


def _takes_slices(node: _C.Node, products: list[list[_C.Value]]) -> bool:
    values = [*node.inputs(), *(factor for product in products for factor in product)]
    return any(_is_sliced(value) for value in values)


def _is_sliced(value: _C.Value) -> bool:
    node = value.node()
    while node.kind() in _PASSING:
        if node.kind() in _SLICES:
            return True
        inputs = list(node.inputs())
        if node.kind() == "prim::ListConstruct":
            return any(_is_sliced(item) for item in inputs)
        node = inputs[0].node()
    return False


def _comes_from_step(value: _C.Value) -> bool:
    """Whether a value is the sum of an earlier step, possibly after `_PASSING` operations."""
    return any(_products(node) for node in _sources(value))


def _sources(value: _C.Value) -> Iterator[_C.Node]:
    node = value.node()
    if node.kind() not in _PASSING:
        yield node
        return
    inputs = list(node.inputs())
    for item in inputs if node.kind() == "prim::ListConstruct" else inputs[:1]:
        yield from _sources(item)


def _feeds_step(value: _C.Value) -> bool:
    """Whether a value is a factor of a later step's product."""
    for use in value.uses():
        user = use.user
        if user.kind() in PRODUCTS or (user.kind() in FUSED and use.offset in (1, 2)):
            sums = [user] if user.kind() in FUSED else [after.user for after in user.output().uses()]
            if any(_products(after) and _takes_slices(after, _products(after)) for after in sums):
                return True
        elif user.kind() in _PASSING and any(_feeds_step(output) for output in user.outputs()):
            return True
    return False
