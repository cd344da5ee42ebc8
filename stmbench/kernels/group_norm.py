"""GroupNorm of maps whose channels lie side by side, with the ReLU after it, as an operator of PyTorch with a backward
pass: see `stmbench.kernels.sums`. Wu and He, "Group Normalization", ECCV 2018."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stmbench.kernels.library import call, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("group_norm", device="cpu")
def group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """x without the mean of its group and divided by its standard deviation, times `weight` plus `bias`.

    Args:
        x: (B, C, H, W), float32 or float64, as the others; channels_last is not copied.
        weight: (C,).
        bias: (C,).
        groups: of C / groups neighbouring channels.
        eps: added to the variance.
        relu: whether values below zero become zero.

    Returns:
        (B, C, H, W), channels_last; each group's mean and the inverse of its deviation, (B, groups).
    """
    require_shapes((weight, (x.shape[1] // groups * groups,)), (bias, (x.shape[1],)))
    y, mean, rstd = _outputs(x, groups)
    given = (x.contiguous(memory_format=torch.channels_last), weight.contiguous(), bias.contiguous())
    call("group_norm", (*given, y, mean, rstd), _sizes(x, groups, relu), eps)
    return y, mean, rstd


@operator("group_norm_backward", device="cpu")
def group_norm_backward(
    gradient: Tensor, x: Tensor, y: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias."""
    of_x, of_weight, of_bias = _gradients(x)
    laid = (each.contiguous(memory_format=torch.channels_last) for each in (gradient, x, y))
    found = (of_x, of_weight, of_bias)
    call("group_norm_backward", (*laid, weight.contiguous(), mean, rstd, *found), _sizes(x, mean.shape[1], relu))
    return of_x, of_weight.sum(0), of_bias.sum(0)


def _sizes(x: Tensor, groups: int, relu: bool) -> tuple[int, ...]:
    images, channels, height, width = x.shape
    return images, height * width, channels, groups, int(relu)


def _outputs(x: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.empty_like(x, memory_format=torch.channels_last)
    return y, x.new_empty((len(x), groups)), x.new_empty((len(x), groups))


def _gradients(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of x; of weight and bias image by image."""
    sums = x.new_empty((2, *x.shape[:2]))
    return torch.empty_like(x, memory_format=torch.channels_last), sums[0], sums[1]


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, weight, _, _, _, ctx.relu = inputs
        ctx.save_for_backward(x, output[0], weight, *output[1:])
        ctx.mark_non_differentiable(*output[1:])

    def gradients(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Any, ...]:
        found = group_norm_backward(gradient, *ctx.saved_tensors, ctx.relu)
        return (*found, None, None, None)

    def of_inputs(_: Tensor, x: Tensor, *__: Any) -> tuple[Tensor, ...]:
        return (torch.empty_like(x, memory_format=torch.channels_last), *x.new_empty(2, x.shape[1]))

    def shapes(x: Tensor, _: Tensor, __: Tensor, groups: int, *___: Any) -> tuple[Tensor, Tensor, Tensor]:
        return _outputs(x, groups)

    describe(group_norm, shapes=shapes, gradient=gradients, keep=keep)
    describe(group_norm_backward, shapes=of_inputs)


_register()
