"""Linear layers and matrix products, however they are written.

A product of two tensors costs one multiply-add for each combination of all the indices that take part. That holds for
an elementwise product that is summed afterwards as well: local attention and dynamic convolutions are often written so.
"""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.dataflow import is_sampled, origin
from stmbench.measure.counting.handles import Call, complex_factor, handle, shape_of
from stmbench.measure.counting.tally import Tally


@handle("aten::linear", "aten::mkldnn_linear", "aten::_linear")
def linear(call: Call) -> Tally:
    """Output elements x input features."""
    return call.tally("linear", prod(call.output) * call.shape(0)[-1])


@handle("aten::addmm", "aten::_addmm_activation")
def addmm(call: Call) -> Tally:
    """bias + a @ b: a linear layer."""
    return call.tally("linear", prod(call.output) * call.shape(1)[-1])


@handle("aten::bilinear")
def bilinear(call: Call) -> Tally:
    """y_o = a W_o b: W_o b for every o, then the product with a."""
    first, second = call.shape(2)[1:]
    return call.tally("linear", prod(call.output) * (first * second + first))


@handle("aten::matmul", "aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::vdot", "aten::inner")
def matmul(call: Call) -> Tally:
    """Output elements x the length of the summed axis."""
    return _product(call, prod(call.output) * call.shape(0)[-1], 0, 1)


@handle("aten::baddbmm", "aten::addmv")
def added_matmul(call: Call) -> Tally:
    """c + a @ b."""
    return _product(call, prod(call.output) * call.shape(1)[-1], 1, 2)


@handle("aten::addbmm")
def summed_matmul(call: Call) -> Tally:
    """c + sum over the batch of a @ b."""
    return _product(call, prod(call.shape(1)) * call.shape(2)[-1], 1, 2)


@handle("aten::tensordot")
def tensordot(call: Call) -> Tally:
    """Output elements x the lengths of the summed axes."""
    summed = prod(call.shape(0)[axis] for axis in call.constant(2))
    return _product(call, prod(call.output) * summed, 0, 1)


@handle("aten::sum")
def summed_product(call: Call) -> Tally:
    """A sum is free, unless what it sums is a product of two tensors: then this is a contraction."""
    node = origin(call.inputs[0])
    if node.kind() not in ("aten::mul", "aten::mul_", "aten::multiply"):
        return Tally()
    factors = list(node.inputs())
    shapes = [shape_of(factor) for factor in factors]
    if any(shape is None or prod(shape) == 1 for shape in shapes):
        return Tally()  # scaled by a number
    kind = "sampling" if any(is_sampled(factor) for factor in factors) else "matmul"
    call.covers(node)
    return call.tally(kind, prod(call.shape(0)) * complex_factor(factors) // complex_factor(call.inputs))


def _product(call: Call, macs: int, *operands: int) -> Tally:
    # the weight of a bilinear sample belongs to the sampling, wherever it is multiplied in
    sampled = any(is_sampled(call.inputs[index]) for index in operands)
    return call.tally("sampling" if sampled else "matmul", macs)
