"""Sampling at computed positions and resizing; norms, pooling and activation functions.

One bilinear sample costs 5 multiply-adds per channel: 4 for its neighbours and 1 for its own weight. The fifth is
counted where the weight is applied: in `products`, or here if the operation applies it itself. Norms, pooling and
activations are not in `macs`, but in some published figures, with fvcore's estimates, and in the memory traffic.
"""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.handles import Call, Tally, handle

BILINEAR, NEAREST, BICUBIC = 0, 1, 2  # torch.grid_sampler's interpolation_mode
MODES = {"bilinear": BILINEAR, "nearest": NEAREST, "bicubic": BICUBIC}
UPSAMPLING = ("linear1d", "bilinear2d", "trilinear3d")


@handle("aten::grid_sampler", "aten::grid_sampler_2d", "aten::grid_sampler_3d")
def grid_sampler(call: Call) -> Tally:
    """Output elements x neighbours: 4 (2-D) or 8 (3-D) for linear, 16 for cubic, 0 for nearest."""
    mode, axes = call.constant(2), call.shape(1)[-1]
    neighbours = {BILINEAR: 2**axes, NEAREST: 0, BICUBIC: 4**axes}[MODES.get(mode, mode)]
    return call.tally("sampling", prod(call.output) * neighbours)


@handle("torchvision::deform_conv2d")
def deform_conv2d(call: Call) -> Tally:
    """Bilinear samples of every input channel at every kernel position, weighted if there is a mask, followed by a
    convolution of the samples."""
    batch, channels = call.shape(0)[:2]
    weight, (height, width) = call.shape(1), call.output[2:]
    samples = batch * channels * height * width * prod(weight[2:])
    weighted = bool(call.constant(len(call.inputs) - 1))  # use_mask
    return Tally(
        kinds={"sampling": samples * (5 if weighted else 4), "conv": prod(call.output) * prod(weight[1:])},
        activations=prod(call.output),
        elements_moved=call.elements_moved,
    )


@handle(*(f"aten::upsample_{name}" for name in UPSAMPLING), "aten::_upsample_bilinear2d_aa")
def linear_interpolation(call: Call) -> Tally:
    """Output elements x neighbours. The positions do not depend on the input, so this is not in `macs`."""
    return _interpolation(call, 2)


@handle("aten::upsample_bicubic2d", "aten::_upsample_bicubic2d_aa")
def cubic_interpolation(call: Call) -> Tally:
    """Output elements x 16 neighbours; not in `macs`."""
    return _interpolation(call, 4)


def _interpolation(call: Call, reach: int) -> Tally:
    macs = prod(call.output) * reach ** (len(call.output) - 2)
    return Tally(kinds={"interpolation": macs}, elements_moved=call.elements_moved)


@handle("aten::layer_norm", "aten::group_norm")
def layer_norm(call: Call) -> Tally:
    """5 per element, 4 without weights."""
    return _norm(call, 5 if call.is_tensor(2) else 4)


@handle("aten::instance_norm")
def instance_norm(call: Call) -> Tally:
    """5 per element, 4 without weights."""
    return _norm(call, 5 if call.is_tensor(1) else 4)


@handle("aten::rms_norm")
def rms_norm(call: Call) -> Tally:
    """4 per element, 3 without weights: a LayerNorm that does not subtract the mean (fvcore has no rule)."""
    return _norm(call, 4 if call.is_tensor(2) else 3)


@handle("aten::batch_norm")
def batch_norm(call: Call) -> Tally:
    """2 per element with running statistics, 1 without weights; 5 and 4 with the statistics of the batch."""
    return _norm(call, (4 if call.constant(5) else 1) + call.is_tensor(1))


def _norm(call: Call, each: int) -> Tally:
    return Tally(kinds={"norm": prod(call.shape(0)) * each}, elements_moved=call.elements_moved)


@handle("aten::adaptive_avg_pool1d", "aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d", "aten::mean")
def average(call: Call) -> Tally:
    """1 per input element. A mean over positions is global average pooling, written differently."""
    return Tally(kinds={"pool": prod(call.shape(0))}, elements_moved=call.elements_moved)


def traffic(call: Call) -> Tally:
    """No multiply-adds, only memory traffic."""
    return Tally(elements_moved=call.elements_moved)


POOLING = (
    *(f"aten::{name}_pool{d}d" for name in ("avg", "max", "adaptive_max") for d in (1, 2, 3)),
    *(f"aten::max_pool{d}d_with_indices" for d in (1, 2, 3)),
    "aten::lp_pool2d",
)
ACTIVATIONS = (
    "celu", "elu", "erf", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log_sigmoid", "log_softmax", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
    "softplus", "softshrink", "softsign", "tanh",
)  # fmt: skip
for operation in (*POOLING, *(f"aten::{name}{suffix}" for name in ACTIVATIONS for suffix in ("", "_"))):
    handle(operation)(traffic)
