"""Fast Fourier transforms: 5 N log2 N floating-point operations for N complex points (Cooley and Tukey's radix 2: N/2
log2 N butterflies of ten), half of that for real ones, and one multiply-add for every two operations."""

from __future__ import annotations

from math import log2, prod

from stmbench.measure.counting.handles import Call, handle
from stmbench.measure.counting.tally import Tally


@handle("aten::fft_fft", "aten::fft_ifft", "aten::fft_fft2", "aten::fft_ifft2", "aten::fft_fftn", "aten::fft_ifftn")
def complex_transform(call: Call) -> Tally:
    """2.5 N log2 N a transform, N the points along all the transformed axes."""
    return _transform(call, call.output, 2.5)


@handle("aten::fft_rfft", "aten::fft_rfft2", "aten::fft_rfftn")
def real_transform(call: Call) -> Tally:
    """1.25 N log2 N, with N real points going in."""
    signal, axes = list(call.output), _axes(call, len(call.output))
    lengths = call.constant(1)
    given = lengths[-1] if isinstance(lengths, list) else lengths
    signal[axes[-1]] = given or call.shape(0)[axes[-1]]
    return _transform(call, tuple(signal), 1.25)


@handle("aten::fft_irfft", "aten::fft_irfft2", "aten::fft_irfftn")
def inverse_real_transform(call: Call) -> Tally:
    """1.25 N log2 N, with N real points coming out."""
    return _transform(call, call.output, 1.25)


def _transform(call: Call, signal: tuple[int, ...], factor: float) -> Tally:
    points = prod(signal[axis] for axis in _axes(call, len(signal)))
    return call.tally("fft", round(factor * prod(signal) * log2(points)))


def _axes(call: Call, dimensions: int) -> list[int]:
    axes = call.constant(2)
    if axes is None:
        return list(range(dimensions))
    return [axes] if isinstance(axes, int) else list(axes)
