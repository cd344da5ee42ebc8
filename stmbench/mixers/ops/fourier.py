"""Real Fourier transforms over the map, unitary, channels last, in float32 at least.

    S_k = 1 / sqrt(N) sum over positions p of X_p exp(-2 pi i k . p),   k = (row / H, column / W)

Half precision is converted, and autocast is off: PyTorch has no transform of bfloat16 (and of float16 only on CUDA, for
powers of two). PyTorch's on a CPU copies maps to channels first and back, so that two others are faster there: compiled
ones, and without a compiler, on small maps, products with cosines and sines.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stmbench.kernels import fourier as compiled
from stmbench.kernels.setting import can_run
from stmbench.mixers.ops import cached_table, is_eager_on_cpu, without_autocast

SMALL = 28  # longest side of a map that is transformed by products


def spectrum(x: Tensor) -> Tensor:
    """(B, H, W, C) -> complex (B, H, W // 2 + 1, C): the columns that do not follow from the others."""
    batch, height, width, dim = x.shape
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if can_run(x):
        coefficients: Tensor = compiled.spectrum(x)
        return coefficients
    if not is_eager_on_cpu(x) or max(height, width) > SMALL:
        coefficients = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
        return coefficients
    half = width // 2 + 1
    with without_autocast(x.device):
        along_rows = _rows(width, x.dtype) @ x  # B, H, (2, half), C
        parts = _columns(height, x.dtype) @ along_rows.view(batch, 2 * height, half * dim)
    real, imaginary = parts.view(batch, height, 2, half, dim).unbind(2)
    return torch.complex(real, imaginary)


def from_spectrum(coefficients: Tensor, width: int) -> Tensor:
    """The inverse for maps `width` wide: complex (B, H, W // 2 + 1, C) -> (B, H, W, C), contiguous.

    As in every such inverse, the imaginary parts of frequencies that are their own conjugates are ignored.
    """
    batch, height, half, dim = coefficients.shape
    if can_run(coefficients):
        x: Tensor = compiled.from_spectrum(coefficients, width)
        return x
    if not is_eager_on_cpu(coefficients) or max(height, width) > SMALL:
        x = torch.fft.irfft2(coefficients, s=(height, width), dim=(1, 2), norm="ortho")
        return x.contiguous()
    parts = torch.stack((coefficients.real, coefficients.imag), dim=2)  # B, H, 2, half, C
    with without_autocast(parts.device):
        along_rows = _columns(height, parts.dtype).mT @ parts.view(batch, 2 * height, half * dim)
        y: Tensor = _rows_back(width, parts.dtype) @ along_rows.view(batch, height, 2 * half, dim)
        return y


@cached_table
def _rows(width: int, dtype: torch.dtype) -> Tensor:
    """(2 half, W): real and imaginary parts of the transform along W."""
    angles = _angles(width, width // 2 + 1)
    table: Tensor = torch.cat((angles.cos(), -angles.sin())) / width**0.5
    return table.to(dtype)


@cached_table
def _rows_back(width: int, dtype: torch.dtype) -> Tensor:
    """(W, 2 half): every column but the first, and the last of an even width, stands for its conjugate too."""
    times = torch.full((width // 2 + 1, 1), 2.0, dtype=torch.float64)
    times[0] = 1
    if width % 2 == 0:
        times[-1] = 1
    return (times.repeat(2, 1) * _rows(width, torch.float64)).mT.to(dtype)


@cached_table
def _columns(height: int, dtype: torch.dtype) -> Tensor:
    """(2 H, 2 H): the transform along H, of pairs of real and imaginary part to such pairs. Orthogonal."""
    angles = _angles(height, height)
    real = torch.stack((angles.cos(), angles.sin()), dim=2)  # from both parts to the real part
    imaginary = torch.stack((-angles.sin(), angles.cos()), dim=2)
    table: Tensor = torch.stack((real, imaginary), dim=1).view(2 * height, 2 * height) / height**0.5
    return table.to(dtype)


def _angles(length: int, frequencies: int) -> Tensor:
    """(frequencies, length) float64: exact products of integers, reduced to one turn."""
    products = torch.arange(frequencies)[:, None] * torch.arange(length) % length
    angles: Tensor = products.double() * (2 * math.pi / length)
    return angles


def spectrum_reference(x: Tensor) -> Tensor:
    """`spectrum`, as a sum over positions."""
    height, width = x.shape[1:3]
    rows, columns = (torch.arange(side, dtype=x.dtype, device=x.device) for side in (height, width))
    turns = [torch.outer(side, side) / len(side) for side in (rows, columns)]
    down, across = (torch.exp(-2j * math.pi * turn) / len(turn) ** 0.5 for turn in turns)
    return torch.einsum("ky,lx,byxc->bklc", down, across[: width // 2 + 1], x.to(down.dtype))


def inverse_reference(coefficients: Tensor, width: int) -> Tensor:
    """`from_spectrum`, as a sum over all frequencies, the left out ones restored as conjugates."""
    height, half = coefficients.shape[1:3]
    there = coefficients[:, :, 1 : width - half + 1].conj()  # column l is the conjugate of column W - l
    left_out = there.flip(1).roll(1, dims=1).flip(2)
    whole = torch.cat((coefficients, left_out), dim=2)
    places = (torch.arange(side, dtype=coefficients.real.dtype, device=whole.device) for side in (height, width))
    turns = [torch.outer(side, side) / len(side) for side in places]
    down, across = (torch.exp(2j * math.pi * turn) / len(turn) ** 0.5 for turn in turns)
    return torch.einsum("yk,xl,bklc->byxc", down, across, whole).real
