"""Two maps mixed by shares of each image and channel, and the mean that such shares are made from, in float32 or
float64: with a backward pass each, whose second derivative goes through PyTorch's own operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
        ctx.save_for_backward(first, second, a, b)
        y = first.new_empty(first.shape)
        call("mix", (*(each.contiguous() for each in (first, second, a, b)), y), _sizes(first), is_part=True)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        first, second, a, b = ctx.saved_tensors
        if torch.is_grad_enabled():
            of_maps = tuple(gradient * share[:, None, None] for share in (a, b))
            return *of_maps, *((gradient * each).sum((1, 2)) for each in (first, second))
        of_maps = first.new_empty(first.shape), second.new_empty(second.shape)
        of_shares = first.new_zeros(a.shape), first.new_zeros(b.shape)
        given = (each.contiguous() for each in (gradient, first, second, a, b))
        call("mix_backward", (*given, *of_maps, *of_shares), _sizes(first), is_part=True)
        return *of_maps, *of_shares


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        CALLS["pooled"] += 1
        ctx.shape = first.shape
        mean = first.new_zeros(len(first), first.shape[3])
        call("pool", (first.contiguous(), second.contiguous(), mean), _sizes(first), is_part=True)
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        _, height, width, _ = ctx.shape
        of_both = (gradient / (height * width))[:, None, None].expand(ctx.shape)
        return of_both, of_both


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return len(x), x.shape[1] * x.shape[2], x.shape[3]
