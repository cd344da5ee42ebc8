"""Depthwise convolutions with kernels of several shapes, each for a part of the channels, in one pass: an operator of
PyTorch with derivatives of any order. It is linear in the map and in the weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stmbench.kernels.depthwise import GROUPS, pixels
from stmbench.kernels.library import call, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("branches", device="cpu")
def branches(
    x: Tensor, taps: Tensor, bias: Tensor | None, shapes: list[int], turned: bool = False, kept: bool = True
) -> Tensor:
    """Convolutions of the last channels, zero outside the map; the output has the map's size.

    Args:
        x: (B, H, W, C), float32 or float64, as the others.
        taps: (weights,): each branch's kernels (channels, down, across), one after the other.
        bias: (channels of all branches,).
        shapes: channels, down and across of each branch, in a row; the sides are odd.
        turned: kernels by 180 degrees, as for the gradient of x.
        kept: whether the first channels, which no branch has, are copied; otherwise they are zero.

    Returns:
        (B, H, W, C).
    """
    require_shapes((taps, (_weights(shapes),)), (x, (*x.shape[:3], max(x.shape[3], sum(shapes[::3])))))
    if bias is not None:
        require_shapes((bias, (sum(shapes[::3]),)))
    y, x = x.new_empty(x.shape), pixels(x)
    sizes = (int(turned), int(kept), int(bias is not None), *_sizes(x, shapes))
    call("branches", (x, taps.contiguous(), taps if bias is None else bias.contiguous(), y), sizes)
    return y


@operator("branches_of_taps", device="cpu")
def branches_of_taps(gradient: Tensor, x: Tensor, shapes: list[int]) -> Tensor:
    """(weights,): the gradient of `taps`, of each the sum over images and positions of `gradient` (B, H, W, C) times
    what it finds in `x`."""
    require_shapes((gradient, tuple(x.shape)))
    gradient, x, groups = pixels(gradient), pixels(x), max(1, min(GROUPS, len(x)))
    found = x.new_zeros((groups, _weights(shapes)))
    call("branches_of_taps", (gradient, x, found), (gradient.stride(2), groups, *_sizes(x, shapes)))
    return found.sum(0)


def _weights(shapes: list[int]) -> int:
    return sum(channels * down * across for channels, down, across in zip(*[iter(shapes)] * 3, strict=True))


def _sizes(x: Tensor, shapes: list[int]) -> tuple[int, ...]:
    return (*x.shape, x.stride(2), len(shapes) // 3, *shapes)


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, taps, _, ctx.shapes, ctx.turned, ctx.kept = inputs
        ctx.save_for_backward(x, taps)

    def gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, taps = ctx.saved_tensors
        of_x = of_taps = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = branches(gradient, taps, None, ctx.shapes, not ctx.turned, ctx.kept)
        if ctx.needs_input_grad[1]:  # turned kernels: what x finds in the gradient
            both = (x, gradient) if ctx.turned else (gradient, x)
            of_taps = branches_of_taps(*both, ctx.shapes)
        if ctx.needs_input_grad[2]:
            of_bias = gradient[..., gradient.shape[3] - sum(ctx.shapes[::3]) :].sum((0, 1, 2))
        return of_x, of_taps, of_bias, None, None, None

    def keep_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *both, ctx.shapes = inputs
        ctx.save_for_backward(*both)

    def of_both(ctx: Any, taps: Tensor) -> tuple[Tensor | None, ...]:
        gradient, x = ctx.saved_tensors
        of_gradient = branches(x, taps, None, ctx.shapes, False, False) if ctx.needs_input_grad[0] else None
        of_x = branches(gradient, taps, None, ctx.shapes, True, False) if ctx.needs_input_grad[1] else None
        return of_gradient, of_x, None

    def weights(_: Tensor, x: Tensor, shapes: list[int]) -> Tensor:
        return x.new_empty(_weights(shapes))

    describe(branches, shapes=lambda x, *_, **__: x.new_empty(x.shape), gradient=gradients, keep=keep)
    describe(branches_of_taps, shapes=weights, gradient=of_both, keep=keep_both)


_register()
