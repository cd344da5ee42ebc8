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
class Norm:
    """A LayerNorm over C channels: weight and bias (C,)."""

    weight: Tensor
    bias: Tensor
    eps: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers:
    """An MLP's two linear layers: weights (H, C) and (C, H), biases (H,) and (C,)."""

    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor


def residual_mlp(x: Tensor, y: Tensor, norm: Norm | None, layers: Layers, scale: Tensor) -> Tensor:
    """x + scale * mlp(norm(y)), with GELU between the MLP's layers.

    Args:
        x, y: (..., C).
        norm: None for none.
        scale: (C,).

    Returns:
        (..., C), contiguous.
    """
    CALLS["residual_mlp"] += 1
    out = x.new_empty(x.shape)
    hidden, dim = layers.up.shape
    residuals, inputs, sums = (tensor.reshape(-1, dim) for tensor in (x.contiguous(), y.contiguous(), out))
    up_bias, down_bias, scale = layers.up_bias.contiguous(), layers.down_bias.contiguous(), scale.contiguous()
    most = min(PART * torch.get_num_threads(), len(sums))
    room = [out.new_empty(most, width) for width in (hidden, dim, dim)]
    for first in range(0, len(sums), max(most, 1)):
        given, residual, to = (tensor[first : first + most] for tensor in (inputs, residuals, sums))
        units, normed, mixed = (each[: len(to)] for each in room)
        if norm is not None:
            weights = norm.weight.contiguous(), norm.bias.contiguous()
            call("layer_norm", (given, *weights, normed), normed.shape, norm.eps, is_part=True)
            given = normed
        torch.mm(given, layers.up.t(), out=units)
        call("add_gelu", (units, up_bias), units.shape, is_part=True)
        torch.mm(units, layers.down.t(), out=mixed)
        call("add_scaled", (residual, mixed, down_bias, scale, to), to.shape, is_part=True)
    return out
