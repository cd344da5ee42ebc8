"""Linear layers, matrix products, einsum, fused attention, convolutions and Fourier transforms.

A product of two tensors costs one multiply-add for each combination of all indices involved. This includes elementwise
products that are summed afterwards, as local attention and dynamic convolutions are often written. Einsum is counted
pairwise, in the order of contraction. Fused attention costs as much as its two products written out: masks, scaling
and softmax are free, and masked entries count because most kernels compute them and discard the result.

Every output element of a convolution is a sum over the positions of the kernel and the channels of its group. A Fourier
transform of N complex points takes 5 N log2 N floating-point operations (Cooley and Tukey's radix 2: N/2 log2 N
butterflies of ten), one of real points half as many, and two operations count as one multiply-add.
"""

from __future__ import annotations

from math import log2, prod

from stmbench.measure.counting.handles import Call, Tally, complex_factor, handle, is_sampled, origin, shape_of


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
    """A sum is free, unless it sums the product of two tensors, which makes it a contraction."""
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
    # the weight of a bilinear sample belongs to the sampling, wherever it is applied
    sampled = any(is_sampled(call.inputs[index]) for index in operands)
    return call.tally("sampling" if sampled else "matmul", macs)


@handle("aten::einsum")
def einsum(call: Call) -> Tally:
    """The pairwise contractions of the equation; elementwise products, without summed indices, are free."""
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
        path: the flattened pairs as given by opt_einsum (each result is appended); left to right if None.
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
    """A name for each axis; those of an ellipsis are numbered from the right, as in broadcasting."""
    if "..." not in term:
        return list(term)
    before, after = term.split("...")
    hidden = dimensions - len(before) - len(after)
    return [*before, *(f"...{hidden - i}" for i in range(hidden)), *after]


def _output(term: str, named: list[list[str]]) -> set[str]:
    dots = {name for names in named for name in names if name.startswith("...")}
    return set(term.replace("...", "")) | (dots if "..." in term else set())


def _implicit_output(terms: list[str], named: list[list[str]]) -> set[str]:
    """The output of an equation without an arrow: indices that occur once, and those of the ellipsis."""
    letters = "".join(terms)
    return {name for names in named for name in names if name.startswith("...") or letters.count(name) == 1}


@handle(
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_attention_math",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_fused_attention_overrideable",
)
def attention(call: Call) -> Tally:
    """Queries (..., heads, N, d), keys (..., heads, M, d), values (..., heads, M, e): N M (d + e) per head."""
    *rows, width = call.output
    depth, keys = call.shape(0)[-1], call.shape(1)[-2]
    # the outputs of both products count as activations, even if the kernel never stores the first
    return Tally(
        kinds={"matmul": prod(rows) * keys * (depth + width)},
        activations=prod(rows) * (keys + width),
        elements_moved=call.elements_moved,
    )


@handle("aten::_native_multi_head_attention")
def native_attention(call: Call) -> Tally:
    """nn.MultiheadAttention in one call: three projections, two products, one projection."""
    batch, queries, dim = call.shape(0)
    keys = call.shape(1)[1]
    linear = batch * dim * dim * (2 * queries + 2 * keys)
    # activations: q, k, v, the attention maps of all heads, the weighted values, the output
    maps = batch * int(call.constant(4)) * queries * keys
    return Tally(
        kinds={"linear": linear, "matmul": 2 * batch * queries * keys * dim},
        activations=batch * dim * (3 * queries + 2 * keys) + maps,
        elements_moved=call.elements_moved,
    )


@handle(
    "aten::_convolution",
    "aten::_convolution_mode",
    "aten::convolution",
    "aten::conv1d",
    "aten::conv2d",
    "aten::conv3d",
    "aten::mkldnn_convolution",
    "aten::_slow_conv2d_forward",
    "aten::cudnn_convolution",
)
def convolution(call: Call) -> Tally:
    """Output elements x kernel x channels per group, including zero padding; input elements if transposed."""
    transposed = call.operation in ("aten::_convolution", "aten::convolution") and bool(call.constant(6))
    elements = call.shape(0) if transposed else call.output
    weight = call.shape(1)  # (out, in / groups, *kernel), transposed (in, out / groups, *kernel)
    return call.tally("conv", prod(elements) * prod(weight[1:]))


@handle("aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d")
def transposed_convolution(call: Call) -> Tally:
    """Input elements x kernel x output channels per group."""
    return call.tally("conv", prod(call.shape(0)) * prod(call.shape(1)[1:]))


@handle("aten::fft_fft", "aten::fft_ifft", "aten::fft_fft2", "aten::fft_ifft2", "aten::fft_fftn", "aten::fft_ifftn")
def complex_transform(call: Call) -> Tally:
    """2.5 N log2 N per transform of N points, counted along all transformed axes."""
    return _transform(call, call.output, 2.5)


@handle("aten::fft_rfft", "aten::fft_rfft2", "aten::fft_rfftn")
def real_transform(call: Call) -> Tally:
    """1.25 N log2 N for N real input points."""
    signal, axes = list(call.output), _axes(call, len(call.output))
    lengths = call.constant(1)
    given = lengths[-1] if isinstance(lengths, list) else lengths
    signal[axes[-1]] = given or call.shape(0)[axes[-1]]
    return _transform(call, tuple(signal), 1.25)


@handle("aten::fft_irfft", "aten::fft_irfft2", "aten::fft_irfftn")
def inverse_real_transform(call: Call) -> Tally:
    """1.25 N log2 N for N real output points."""
    return _transform(call, call.output, 1.25)


def _transform(call: Call, signal: tuple[int, ...], factor: float) -> Tally:
    points = prod(signal[axis] for axis in _axes(call, len(signal)))
    return call.tally("fft", round(factor * prod(signal) * log2(points)))


def _axes(call: Call, dimensions: int) -> list[int]:
    axes = call.constant(2)
    if axes is None:
        return list(range(dimensions))
    return [axes] if isinstance(axes, int) else list(axes)
