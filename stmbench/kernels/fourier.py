"""Real Fourier transforms over maps with channels last, as operators of PyTorch with derivatives of any order: each is
the other's transpose, but for the columns of the spectrum that stand for two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stmbench.kernels.library import call, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("spectrum", device="cpu")
def spectrum(x: Tensor, doubled: bool = False) -> Tensor:
    """The unitary transform over H and W.

    Args:
        x: (B, H, W, C), float32 or float64.
        doubled: columns that stand for their conjugates too count twice, as in the gradient of `from_spectrum`.

    Returns:
        complex (B, H, W // 2 + 1, C).
    """
    batch, height, width, dim = x.shape
    found = x.new_empty((batch, height, width // 2 + 1, dim, 2))
    call("spectrum", (x.contiguous(), found), (*x.shape, int(doubled)))
    return torch.view_as_complex(found)


@operator("from_spectrum", device="cpu")
def from_spectrum(coefficients: Tensor, width: int, halved: bool = False) -> Tensor:
    """The inverse: complex (B, H, W // 2 + 1, C) -> (B, H, W, C). `halved`: columns that stand for their conjugates too
    count half, as in the gradient of `spectrum`. Imaginary parts of what is its own conjugate are ignored."""
    batch, height, _, dim = coefficients.shape
    require_shapes((coefficients, (batch, height, width // 2 + 1, dim)))
    parts = torch.view_as_real(coefficients.resolve_conj()).contiguous()
    x = parts.new_empty((batch, height, width, dim))
    call("from_spectrum", (parts, x), (batch, height, width, dim, int(halved)))
    return x


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def spectrum_shape(x: Tensor, doubled: bool = False) -> Tensor:
        batch, height, width, dim = x.shape
        return x.new_empty((batch, height, width // 2 + 1, dim), dtype=x.dtype.to_complex())

    def map_shape(coefficients: Tensor, width: int, halved: bool = False) -> Tensor:
        batch, height, _, dim = coefficients.shape
        return coefficients.new_empty((batch, height, width, dim), dtype=coefficients.dtype.to_real())

    def keep_width(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.doubled = inputs
        ctx.width = x.shape[2]

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *_, ctx.halved = inputs

    def of_map(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return from_spectrum(gradient, ctx.width, not ctx.doubled), None

    def of_coefficients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return spectrum(gradient, not ctx.halved), None, None

    describe(spectrum, shapes=spectrum_shape, gradient=of_map, keep=keep_width)
    describe(from_spectrum, shapes=map_shape, gradient=of_coefficients, keep=keep)


_register()
