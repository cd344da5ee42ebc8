"""The end of a residual branch in training, in float32 or float64: one pass over memory each way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stmbench.kernels.gradients import may_run
from stmbench.kernels.library import CALLS, call


def scaled_residual(x: Tensor, y: Tensor, scale: Tensor, part: Tensor | None = None) -> Tensor:
    """x + part * scale * y, for autograd.

    Args:
        x: (B, ..., C).
        y: the same shape.
        scale: (C,).
        part: (B,), how much of its branch each image takes (stochastic depth); None for 1 each. It has no gradient.

    Returns:
        (B, ..., C), contiguous. A second derivative goes through PyTorch's own operations.
    """
    result: Tensor = _ScaledResidual.apply(x, y, scale, x.new_ones(len(x)) if part is None else part)
    return result


class _ScaledResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, scale: Tensor, part: Tensor) -> Tensor:
        CALLS["scaled_residual"] += 1
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y if ctx.needs_input_grad[2] else None, scale, part)
        out, scale = x.new_empty(x.shape), scale.contiguous()
        tensors = (x.contiguous(), y.contiguous(), torch.zeros_like(scale), scale, part, out)
        call("residual", tensors, _sizes(x), is_part=True)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        y, scale, part = ctx.saved_tensors
        if gradient is None:
            return (None,) * 4
        if y is None or not may_run(gradient):
            taken = gradient * part.view(-1, *[1] * (gradient.ndim - 1))
            of_scale = None if y is None else (taken * y).sum_to_size(scale.shape)
            return gradient, taken * scale, of_scale, None
        of_y, scale = y.new_empty(y.shape), scale.contiguous()
        sums = y.new_zeros(torch.get_num_threads(), 2, y.shape[-1])
        tensors = (gradient.contiguous(), y.contiguous(), torch.zeros_like(scale), scale, part, of_y, sums)
        call("residual_backward", tensors, _sizes(y), is_part=True)
        return gradient, of_y, sums[:, 0].sum(0), None


def _sizes(x: Tensor) -> tuple[int, ...]:
    """Rows, their channels, rows before the first, and rows of an image."""
    rows = x.numel() // x.shape[-1]
    return rows, x.shape[-1], 0, rows // len(x)
