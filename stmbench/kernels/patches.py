"""Convolutions of (B, H, W, C) maps as products of matrices with the weights as they are, in float32 or float64: where
weights are many and positions few, PyTorch's spend their time on bringing the weights into another order."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.kernels.gradients import may_run, replayed
from stmbench.kernels.library import CALLS, call


def patch_conv(x: Tensor, weight: Tensor, *, stride: int, padding: int, groups: int) -> Tensor:
    """A square convolution without a bias, in float32 or float64: x (B, H, W, C), weight (O, C / groups, K, K) ->
    (B, H', W', O). A second derivative goes through PyTorch's convolution."""
    result: Tensor = _PatchConv.apply(x, weight, stride, padding, groups)
    return result


class _PatchConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
        CALLS["patch_conv"] += 1
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, groups
        x, side = x.contiguous(), weight.shape[-1]
        rows, columns = ((size + 2 * padding - side) // stride + 1 for size in x.shape[1:3])
        matrices, own = weight.reshape(groups, len(weight) // groups, -1), x.shape[3] // groups
        y = x.new_empty(len(x), rows, columns, len(weight))
        patches = x.new_empty(y[..., 0].numel(), own * side**2)
        for group, matrix in enumerate(matrices):
            call("patches", (x, patches), _sizes(x, y, own, group, side, stride, padding), is_part=True)
            torch.mm(patches, matrix.t(), out=_of_group(y, group, groups))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (stride, padding, groups), needed = ctx.geometry, ctx.needs_input_grad[:2]
        if gradient is None:
            return (None,) * 5
        if not may_run(gradient):
            plain = functools.partial(_plain, stride=stride, padding=padding, groups=groups)
            return *replayed(plain, (x, weight), needed, gradient), None, None, None
        x, gradient, side = x.contiguous(), gradient.contiguous(), weight.shape[-1]
        matrices, own = weight.reshape(groups, len(weight) // groups, -1), x.shape[3] // groups
        of_x = torch.zeros_like(x) if needed[0] else None
        of_weight = matrices.new_empty(matrices.shape) if needed[1] else None
        patches = x.new_empty(gradient[..., 0].numel(), own * side**2)
        for group, matrix in enumerate(matrices):
            above, sizes = _of_group(gradient, group, groups), _sizes(x, gradient, own, group, side, stride, padding)
            if of_weight is not None:
                call("patches", (x, patches), sizes, is_part=True)
                torch.mm(above.t(), patches, out=of_weight[group])
            if of_x is not None:
                torch.mm(above, matrix, out=patches)
                call("patches_backward", (patches, of_x), sizes, is_part=True)
        return of_x, None if of_weight is None else of_weight.view(weight.shape), None, None, None


def _plain(x: Tensor, weight: Tensor, *, stride: int, padding: int, groups: int) -> Tensor:
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, stride=stride, padding=padding, groups=groups)
    return y.permute(0, 2, 3, 1)


def _of_group(y: Tensor, group: int, groups: int) -> Tensor:
    """Of (B, H, W, O), the channels of a group as (B * H * W, O / groups)."""
    own = y.shape[3] // groups
    return y.view(-1, y.shape[3])[:, group * own : (group + 1) * own]


def _sizes(x: Tensor, y: Tensor, own: int, group: int, side: int, stride: int, padding: int) -> tuple[int, ...]:
    return (*x.shape, group * own, own, side, stride, padding, *y.shape[1:3])
