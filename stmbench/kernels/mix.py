"""Two maps mixed by shares of each image and channel, and the mean that such shares are made from, in float32 or
float64: with a backward pass each, whose second derivative goes through PyTorch's own operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stmbench.kernels.gradients import may_run
from stmbench.kernels.library import CALLS, call


def mixed(first: Tensor, second: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a * first + b * second: (B, H, W, C) twice, (B, C) twice -> (B, H, W, C), contiguous."""
    result: Tensor = _Mixed.apply(first, second, a, b)
    return result


def pooled(first: Tensor, second: Tensor) -> Tensor:
    """The mean over positions of first + second: (B, H, W, C) twice -> (B, C)."""
    result: Tensor = _Pooled.apply(first, second)
    return result


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, a: Tensor, b: Tensor) -> Tensor:
        CALLS["mixed"] += 1
        ctx.set_materialize_grads(False)
        of_maps, of_shares = (any(ctx.needs_input_grad[i : i + 2]) for i in (0, 2))
        ctx.save_for_backward(*((first, second) if of_shares else (None, None)), *((a, b) if of_maps else (None, None)))
        y = first.new_empty(first.shape)
        call("mix", (*(each.contiguous() for each in (first, second, a, b)), y), _sizes(first), is_part=True)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        maps, shares = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        if gradient is None:
            return (None,) * 4
        if maps[0] is None or shares[0] is None or not may_run(gradient):
            of_maps = (None if share is None else gradient * share[:, None, None] for share in shares)
            return *of_maps, *(None if each is None else (gradient * each).sum((1, 2)) for each in maps)
        found = tuple(torch.empty_like(maps[0], memory_format=torch.contiguous_format) for _ in maps)
        sums = tuple(each.new_zeros(each.shape) for each in shares)
        given = (each.contiguous() for each in (gradient, *maps, *shares))
        call("mix_backward", (*given, *found, *sums), _sizes(maps[0]), is_part=True)
        return *found, *sums


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        CALLS["pooled"] += 1
        ctx.set_materialize_grads(False)
        ctx.shape = first.shape
        mean = first.new_zeros(len(first), first.shape[3])
        call("pool", (first.contiguous(), second.contiguous(), mean), _sizes(first), is_part=True)
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if gradient is None:
            return None, None
        _, height, width, _ = ctx.shape
        of_both = (gradient / (height * width))[:, None, None].expand(ctx.shape)
        return of_both, of_both


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return len(x), x.shape[1] * x.shape[2], x.shape[3]
