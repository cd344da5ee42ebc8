"""An MLP with its norm before and its residual after it, as `stmbench.kernels.mlp`, with a gradient: in float32 or
float64, some tokens at a time both ways. Of the hidden units it keeps what GELU is given, and of the norm nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.kernels.gradients import may_run, replayed
from stmbench.kernels.library import CALLS, call
from stmbench.kernels.mlp import PART, Weights


def residual_mlp_training(x: Tensor, y: Tensor, weights: Weights, part: Tensor | None = None) -> Tensor:
    """x + part * scale * mlp(norm(y)), with GELU between the MLP's layers, for autograd.

    Args:
        x: (B, ..., C).
        y: the same shape; the weights must `fit` both.
        weights: of the MLP, its norm and the branch.
        part: (B,), how much of its branch each image takes (stochastic depth); None for 1 each. It has no gradient.

    Returns:
        (B, ..., C), contiguous. A second derivative goes through PyTorch's own operations.
    """
    share = x.new_ones(len(x)) if part is None else part
    tensors = (weights.up, weights.up_bias, weights.down, weights.down_bias, weights.scale, *(weights.norm or ()))
    result: Tensor = _ResidualMlp.apply(x, None if y is x else y, share, weights.eps, *tensors)
    return result


class _ResidualMlp(torch.autograd.Function):
    """x and y (B, ..., C), y None where it is x; part (B,); the weights in the order of `residual_mlp_training`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, part: Tensor, eps: float, *weights: Tensor) -> Tensor:
        CALLS["residual_mlp_training"] += 1
        up, up_bias, down, down_bias, scale, *norm = (weight.contiguous() for weight in weights)
        given = (x if y is None else y).reshape(-1, len(down))
        residual, given, (hidden, dim) = x.reshape(-1, len(down)).contiguous(), given.contiguous(), up.shape
        out, units = x.new_empty(x.shape), x.new_empty(len(given), hidden)
        branch, sums, count = x.new_empty(given.shape), out.view(-1, dim), len(given) // len(x)
        most = _most(len(given))
        active, normed = x.new_empty(most, hidden), x.new_empty(most, dim)
        for first in range(0, len(given), most):
            rows = slice(first, first + most)
            tokens = _normed(given[rows], norm, eps, normed)
            size = len(tokens)
            torch.mm(tokens, up.t(), out=units[rows])
            call("gelu_of", (units[rows], up_bias, active), (size, hidden), is_part=True)
            torch.mm(active[:size], down.t(), out=branch[rows])
            tensors = (residual[rows], branch[rows], down_bias, scale, part, sums[rows])
            call("residual", tensors, (size, dim, first, count), is_part=True)
        # PyTorch keeps no biases, so that they may change before the backward pass: it has those of now, as copies
        ctx.biases, (up, up_bias, down, down_bias, *rest) = weights[1:4:2], weights
        ctx.save_for_backward(
            x if y is None else y, part, units, branch, up_bias.clone(), down_bias.clone(), up, down, *rest
        )
        ctx.set_materialize_grads(False)
        ctx.eps, ctx.is_one = eps, y is None
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        given, part, units, branch, up_bias, down_bias, up, down, scale, *norm = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if gradient is None:
            return (None,) * len(needed)
        of_x: Tensor | None
        if not may_run(gradient):
            plain = functools.partial(_plain, part, ctx.eps, (up_bias, down_bias))
            wanted = (needed[0] if ctx.is_one else needed[1], *needed[4:])
            inputs = (given, up, ctx.biases[0], down, ctx.biases[1], scale, *norm)
            of_given, *of_weights = replayed(plain, inputs, wanted, gradient)
            of_x = gradient if of_given is None or not ctx.is_one else of_given + gradient
        else:
            up, down, scale, *norm = (weight.contiguous() for weight in (up, down, scale, *norm))
            weights = (up, up_bias, down, down_bias, scale, *norm)
            of_given, *of_weights = _gradients(gradient.contiguous(), given, part, units, branch, weights, ctx)
            of_x = of_given if ctx.is_one else gradient
        return of_x, None if ctx.is_one else of_given, None, None, *of_weights


def _gradients(
    gradient: Tensor,
    given: Tensor,
    part: Tensor,
    units: Tensor,
    branch: Tensor,
    weights: tuple[Tensor, ...],
    ctx: Any,
) -> tuple[Tensor | None, ...]:
    """Of what the MLP is given, with that of the residual where both are one, and of the weights that need it."""
    up, up_bias, down, down_bias, scale, *norm = weights
    needed, is_one, eps = ctx.needs_input_grad[4:], ctx.is_one, ctx.eps
    (hidden, dim), threads = up.shape, torch.get_num_threads()
    tokens, above = given.reshape(-1, dim).contiguous(), gradient.view(-1, dim)
    most, count = _most(len(tokens)), len(tokens) // len(given)
    rooms = [tokens.new_empty(most, width) for width in (hidden, hidden, dim, dim)]
    of_given, of_up, of_down = (tensor.new_empty(tensor.shape) for tensor in (tokens, up, down))
    of_hidden, of_branch, of_norm = (tokens.new_zeros(threads, *size) for size in ((hidden,), (2, dim), (2, dim)))
    for first in range(0, len(tokens), most):
        rows = slice(first, first + most)
        size, beta = len(tokens[rows]), min(first, 1)  # the first product fills, the others add
        active, of_units, of_out, normed = (room[:size] for room in rooms)
        outer = (above[rows], branch[rows], down_bias, scale, part, of_out, of_branch)
        call("residual_backward", outer, (size, dim, first, count), is_part=True)
        torch.mm(of_out, down, out=of_units)
        call("gelu_backward", (units[rows], up_bias, active, of_units, of_hidden), (size, hidden), is_part=True)
        if needed[2]:
            of_down.addmm_(of_out.t(), active, beta=beta)
        if needed[0]:
            of_up.addmm_(of_units.t(), _normed(tokens[rows], norm, eps, normed), beta=beta)
        if not norm:
            torch.mm(of_units, up, out=of_given[rows])
            if is_one:
                of_given[rows] += above[rows]
            continue
        torch.mm(of_units, up, out=of_out)
        inner = (of_out, tokens[rows], norm[0], above[rows], of_given[rows], of_norm)
        call("norm_backward", inner, (size, dim, int(is_one)), eps, is_part=True)
    of_scale, of_down_bias = of_branch.sum(0)
    found = (of_up, of_hidden.sum(0), of_down, of_down_bias, of_scale, *(of_norm.sum(0) if norm else ()))
    kept = (each if is_needed else None for each, is_needed in zip(found, needed, strict=True))
    return of_given.view(given.shape), *kept


def _most(tokens: int) -> int:
    """How many tokens are worked on at a time, at least 1."""
    return max(1, min(PART * torch.get_num_threads(), tokens))


def _normed(tokens: Tensor, norm: list[Tensor], eps: float, room: Tensor) -> Tensor:
    """(N, C) -> (N, C), in `room`; as they are without a norm."""
    if not norm:
        return tokens
    call("norm_forward", (tokens, *norm, room), tuple(tokens.shape), eps, is_part=True)
    return room[: len(tokens)]


def _plain(part: Tensor, eps: float, biases: tuple[Tensor, Tensor], given: Tensor, *weights: Tensor) -> Tensor:
    """The branch by PyTorch's own operations; the values of the biases are those of the forward pass."""
    up, up_bias, down, down_bias, scale, *norm = weights
    up_bias, down_bias = (
        bias + (kept - bias).detach() for bias, kept in zip((up_bias, down_bias), biases, strict=True)
    )
    tokens = F.layer_norm(given, (len(down),), norm[0], norm[1], eps) if norm else given
    units = F.linear(F.gelu(F.linear(tokens, up, up_bias)), down, down_bias)
    return part.view(-1, *[1] * (given.ndim - 1)) * scale * units
