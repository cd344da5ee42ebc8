"""Convolutions: every output element is a sum over a kernel's positions and the channels of its group."""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.handles import Call, handle
from stmbench.measure.counting.tally import Tally


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
    """Output elements x kernel x channels of a group (zero padding is multiplied too); transposed, input elements."""
    transposed = call.operation in ("aten::_convolution", "aten::convolution") and bool(call.constant(6))
    every = call.shape(0) if transposed else call.output
    weight = call.shape(1)  # (out, in / groups, *kernel), transposed (in, out / groups, *kernel)
    return call.tally("conv", prod(every) * prod(weight[1:]))


@handle("aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d")
def transposed_convolution(call: Call) -> Tally:
    """Input elements x kernel x output channels of a group."""
    return call.tally("conv", prod(call.shape(0)) * prod(call.shape(1)[1:]))
