"""Convolutions, and the fast Fourier transforms that replace large ones.

Every output element of a convolution is a sum over the positions of the kernel and the channels of its group. A Fourier
transform of N complex points takes 5 N log2 N floating-point operations (Cooley and Tukey's radix 2: N/2 log2 N
butterflies of ten), one of real points half as many, and two operations count as one multiply-add.
"""

from __future__ import annotations

from math import log2, prod

from stmbench.measure.counting.handles import Call, Tally, handle


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
