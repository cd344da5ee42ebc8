"""Sampling at computed positions, deformable convolution, and resizing.

One bilinear sample costs 5 multiply-adds per channel: 4 for its neighbours and 1 for its own weight. The fifth is
counted where the weight is applied: in `products`, or here if the operation applies it itself.
"""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.handles import Call, Tally, handle

BILINEAR, NEAREST, BICUBIC = 0, 1, 2  # torch.grid_sampler's interpolation_mode
MODES = {"bilinear": BILINEAR, "nearest": NEAREST, "bicubic": BICUBIC}


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


@handle(
    "aten::upsample_linear1d",
    "aten::upsample_bilinear2d",
    "aten::_upsample_bilinear2d_aa",
    "aten::upsample_trilinear3d",
)
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
