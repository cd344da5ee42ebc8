"""An MLP with its norm before and its residual after it, in float32 and without a gradient: some tokens at a time, so
that their hidden units never leave the processor's caches."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from stmbench.kernels.library import CALLS, call

# tokens at a time, for each thread: their hidden units are some MB, which the caches hold until they are read, and a
# matrix product of fewer spends its time on copies of the weights
PART = 2048


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Of two linear layers with `hidden` units between them, of the LayerNorm before them, None for none, and of the
    residual branch that they are."""

    up: Tensor  # (hidden, C)
    up_bias: Tensor  # (hidden,)
    down: Tensor  # (C, hidden)
    down_bias: Tensor  # (C,)
    scale: Tensor  # (C,), of the branch
    norm: tuple[Tensor, Tensor] | None  # weight and bias, (C,) each
    eps: float  # of the norm

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return (self.up, self.up_bias, self.down, self.down_bias, self.scale, *(self.norm or ()))

    def fit(self, x: Tensor, y: Tensor) -> bool:
        """Whether all sizes are what they say, for maps of one shape: other sizes PyTorch would repeat, or refuse."""
        (dim, hidden), shapes = (x.shape[-1], self.up.shape[0]), [tuple(tensor.shape) for tensor in self.tensors]
        of_layers = [(hidden, dim), (hidden,), (dim, hidden)]
        return x.ndim > 1 and x.shape == y.shape and shapes == of_layers + [(dim,)] * (len(shapes) - len(of_layers))


def residual_mlp(x: Tensor, y: Tensor, weights: Weights) -> Tensor:
    """x + scale * mlp(norm(y)), with GELU between the MLP's layers: x and y (..., C), which the weights must `fit`, ->
    (..., C), contiguous."""
    CALLS["residual_mlp"] += 1
    out, (hidden, dim), one = x.new_empty(x.shape), weights.up.shape, x.new_ones(1)
    residuals, inputs, sums = (tensor.reshape(-1, dim) for tensor in (x.contiguous(), y.contiguous(), out))
    up_bias, down_bias, scale, *norm = (tensor.contiguous() for tensor in weights.tensors if tensor.ndim == 1)
    most = min(PART * torch.get_num_threads(), len(sums))
    room = [out.new_empty(most, width) for width in (hidden, dim, dim)]
    for first in range(0, len(sums), max(most, 1)):
        given, residual, to = (tensor[first : first + most] for tensor in (inputs, residuals, sums))
        units, normed, mixed = (each[: len(to)] for each in room)
        if norm:
            call("norm_forward", (given, *norm, normed), normed.shape, weights.eps, is_part=True)
            given = normed
        torch.mm(given, weights.up.t(), out=units)
        call("gelu_of", (units, up_bias, units), units.shape, is_part=True)
        torch.mm(units, weights.down.t(), out=mixed)
        call("residual", (residual, mixed, down_bias, scale, one, to), (*to.shape, 0, len(to)), is_part=True)
    return out
