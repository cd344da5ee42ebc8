"""Weighted sums of bilinear samples and over neighbourhoods, as operators of PyTorch with a backward pass.

They work in float32 or float64; other dtypes are for the caller to convert. `torch.compile` sees each as one operator.
First derivatives only. What stands here is for a CPU; on CUDA the operators run `triton_sums`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor

from stmbench.kernels.library import CALLS, call, dense, require_shapes
from stmbench.kernels.operators import describe, operator

MOST_TOKENS = 2**30  # of a map with its edges, for indices of 32 bits
DEVICES = ("cpu", "cuda")  # that these operators have kernels for
Two: TypeAlias = tuple[Tensor, Tensor]
Three: TypeAlias = tuple[Tensor, Tensor, Tensor]


@operator("deformable_sums", device="cpu")
def deformable_sums(
    value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor, scale: float, softmax: bool
) -> Tensor:
    """Sum over k of weights[..., k] times `value` sampled bilinearly at its token + grid[k] + scale * offsets[..., k],
    zero outside the map.

    Args:
        value: (B, H, W, C), float32 or float64; the others are of its dtype.
        offsets: (B, H, W, groups, K, 2), (x, y) in tokens.
        weights: (B, H, W, groups, K).
        grid: (K, 2), (x, y) in tokens; it has no gradient.
        scale: of the offsets.
        softmax: whether the weights are the softmax over K of what is given.

    Returns:
        (B, H, W, C).
    """
    _require_points(value, offsets, weights, grid)
    y = value.new_empty(value.shape)
    offsets, weights = inner(offsets, 2), inner(weights, 1)
    sizes = _points(value, offsets, weights, softmax)
    call("deformable_sums", (value.contiguous(), offsets, weights, grid.contiguous(), y), sizes, scale)
    return y


@operator("deformable_sums_backward", device="cpu")
def deformable_sums_backward(
    value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor, scale: float, softmax: bool, gradient: Tensor
) -> Three:
    """The gradients of value, offsets and weights."""
    gradients: Three = _like(value, offsets, weights)
    offsets, weights = inner(offsets, 2), inner(weights, 1)
    given = (value.contiguous(), offsets, weights, grid.contiguous(), gradient.contiguous())
    sizes = _points(value, offsets, weights, softmax)
    call("deformable_sums_backward", (*given, *gradients), sizes, scale)
    return gradients


def inner(tensor: Tensor, dims: int) -> Tensor:
    """The tensor, copied unless its last `dims` dimensions are contiguous and the tokens are equally far apart."""
    strides, expected = tensor.stride(), 1
    for dim in range(1, dims + 1):
        if strides[-dim] != expected:
            return dense(tensor)
        expected *= tensor.shape[-dim]
    _, height, width = tensor.shape[:3]
    even = strides[1] == width * strides[2] and strides[0] == height * strides[1]
    return tensor if even else dense(tensor)


def _require_points(value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor) -> None:
    lead, (groups, points) = tuple(value.shape[:3]), weights.shape[3:]
    require_shapes((value, (*lead, value.shape[3] // groups * groups)), (weights, (*lead, groups, points)))
    require_shapes((offsets, (*lead, groups, points, 2)), (grid, (points, 2)))
    if not groups or not points or value.shape[1:3].numel() > MOST_TOKENS:
        got = f"{groups} groups with {points} points on {lead[1]} x {lead[2]} tokens"
        raise ValueError(f"expected a group and a point, and at most {MOST_TOKENS} tokens in a map, got {got}")


def _points(value: Tensor, offsets: Tensor, weights: Tensor, softmax: bool) -> tuple[int, ...]:
    sizes = (*weights.shape, value.shape[3] // weights.shape[3])
    steps = (offsets.stride(2), offsets.stride(3), weights.stride(2), weights.stride(3))
    return (*sizes, *steps, int(softmax))


@operator("grouped_sums", device="cpu")
def grouped_sums(values: Tensor, weights: Tensor, side: int) -> Tensor:
    """y[p, c] = sum over taps t of weights[p, g, t] values[p + offset(t), c], g the group of channels c is in.

    Args:
        values: (B, H, W, C), float32 or float64; the weights are of its dtype.
        weights: (B, H, W, groups, K * K), taps row by row; a group is C / groups neighbouring channels.
        side: K, odd.

    Returns:
        (B, H, W, C).
    """
    y = values.new_empty(values.shape)
    call("grouped_sums", (values.contiguous(), weights.contiguous(), y), _taps(values, weights, side, 1))
    return y


@operator("grouped_sums_backward", device="cpu")
def grouped_sums_backward(values: Tensor, weights: Tensor, side: int, gradient: Tensor) -> Two:
    """The gradients of values and weights."""
    given = tuple(tensor.contiguous() for tensor in (values, weights, gradient))
    gradients: Two = _like(values, weights)
    call("grouped_sums_backward", (*given, *gradients), _taps(values, weights, side, 1))
    return gradients


@operator("interleaved_sums", device="cpu")
def interleaved_sums(values: Tensor, weights: Tensor, side: int, halves: int) -> Tensor:
    """`grouped_sums` for groups that interleave: channel c is in group c mod groups.

    With `halves` 2 each half of the channels has half of the groups, and they interleave within it.
    """
    y = values.new_empty(values.shape)
    call("interleaved_sums", (values.contiguous(), weights.contiguous(), y), _taps(values, weights, side, halves))
    return y


@operator("interleaved_sums_backward", device="cpu")
def interleaved_sums_backward(values: Tensor, weights: Tensor, side: int, halves: int, gradient: Tensor) -> Two:
    """The gradients of values and weights."""
    given = tuple(tensor.contiguous() for tensor in (values, weights, gradient))
    gradients: Two = _like(values, weights)
    call("interleaved_sums_backward", (*given, *gradients), _taps(values, weights, side, halves))
    return gradients


def _require_taps(values: Tensor, weights: Tensor, side: int, halves: int) -> None:
    lead, channels, groups = tuple(values.shape[:3]), values.shape[3], weights.shape[3]
    require_shapes((values, (*lead, channels // groups * groups)))
    require_shapes((weights, (*lead, groups // halves * halves, side**2)))


def _taps(values: Tensor, weights: Tensor, side: int, halves: int) -> tuple[int, ...]:
    _require_taps(values, weights, side, halves)
    return (*values.shape, weights.shape[3], side, halves)


def _like(*tensors: Tensor) -> Any:
    """One contiguous tensor for each, not filled."""
    return tuple(tensor.new_empty(tensor.shape) for tensor in tensors)


def _register_triton() -> None:
    """The same operators on CUDA. Triton is imported when the first of them runs."""

    @torch.library.impl("stmbench::deformable_sums", "cuda")
    def _(value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor, *rest: Any) -> Tensor:
        _require_points(value, offsets, weights, grid)
        found: Tensor = _triton("deformable_sums")(value, inner(offsets, 2), inner(weights, 1), grid, *rest)
        return found

    @torch.library.impl("stmbench::deformable_sums_backward", "cuda")
    def _(value: Tensor, offsets: Tensor, weights: Tensor, *rest: Any) -> Three:
        found: Three = _triton("deformable_sums_backward")(value, inner(offsets, 2), inner(weights, 1), *rest)
        return found

    @torch.library.impl("stmbench::grouped_sums", "cuda")
    def _(values: Tensor, weights: Tensor, side: int) -> Tensor:
        _require_taps(values, weights, side, 1)
        found: Tensor = _triton("neighbourhood_sums")(values, weights, side, 1, interleaved=False)
        return found

    @torch.library.impl("stmbench::grouped_sums_backward", "cuda")
    def _(values: Tensor, weights: Tensor, side: int, gradient: Tensor) -> Two:
        found: Two = _triton("neighbourhood_sums_backward")(values, weights, side, 1, gradient, interleaved=False)
        return found

    @torch.library.impl("stmbench::interleaved_sums", "cuda")
    def _(values: Tensor, weights: Tensor, side: int, halves: int) -> Tensor:
        _require_taps(values, weights, side, halves)
        found: Tensor = _triton("neighbourhood_sums")(values, weights, side, halves, interleaved=True)
        return found

    @torch.library.impl("stmbench::interleaved_sums_backward", "cuda")
    def _(values: Tensor, weights: Tensor, side: int, halves: int, gradient: Tensor) -> Two:
        found: Two = _triton("neighbourhood_sums_backward")(values, weights, side, halves, gradient, interleaved=True)
        return found


def _triton(name: str) -> Any:
    from stmbench.kernels import triton_sums

    CALLS[f"{name}_triton"] += 1
    return getattr(triton_sums, name)


def _register() -> None:
    """What compiled graphs and autograd need to know."""
    describe(deformable_sums_backward, shapes=lambda value, offsets, weights, *_: _like(value, offsets, weights))
    for backward in (grouped_sums_backward, interleaved_sums_backward):
        describe(backward, shapes=lambda values, weights, *_: _like(values, weights))

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
        ctx.numbers = tuple(value for value in inputs if not isinstance(value, Tensor))

    for made, backward in (
        (deformable_sums, deformable_sums_backward),
        (grouped_sums, grouped_sums_backward),
        (interleaved_sums, interleaved_sums_backward),
    ):

        def gradients(ctx: Any, gradient: Tensor, backward: Any = backward) -> tuple[Tensor | None, ...]:
            saved = ctx.saved_tensors  # once: checkpointing refuses a second look
            found = backward(*saved, *ctx.numbers, gradient)
            rest = len(saved) + len(ctx.numbers) - len(found)  # the grid, and what is no tensor
            return (*found, *(None for _ in range(rest)))

        describe(made, shapes=lambda values, *_: _like(values)[0], gradient=gradients, keep=keep)


_register()
_register_triton()
