"""Depthwise convolution with zero padding, as an operator of PyTorch with derivatives of any order: see
`stmbench.kernels.sums`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stmbench.kernels.library import call, dense, require_shapes
from stmbench.kernels.operators import describe, operator

GROUPS = 8  # of images whose sums are added last: of any number of threads the sums are the same


@operator("depthwise", device="cpu")
def depthwise(x: Tensor, kernel: Tensor, bias: Tensor | None, dilation: int, turned: bool) -> Tensor:
    """Each channel with its own kernel, zero outside the map; the output has the map's size.

    Args:
        x: (B, H, W, C), float32 or float64, as the others; a part of more channels is not copied.
        kernel: (C, 1, down, across), both odd.
        bias: (C,).
        dilation: the distance between taps.
        turned: by 180 degrees, as for the gradient of x.

    Returns:
        (B, H, W, C).
    """
    require_shapes((kernel, (x.shape[3], 1, *kernel.shape[2:])))
    if bias is not None:
        require_shapes((bias, (x.shape[3],)))
    y, x = x.new_empty(x.shape), pixels(x)
    sizes = (*x.shape, *kernel.shape[2:], dilation, x.stride(2), int(turned), int(bias is not None))
    call("depthwise", (x, kernel.contiguous(), kernel if bias is None else bias.contiguous(), y), sizes)
    return y


@operator("depthwise_of_kernel", device="cpu")
def depthwise_of_kernel(gradient: Tensor, x: Tensor, down: int, across: int, dilation: int) -> Tensor:
    """(C, 1, down, across): the kernel's gradient, of each tap the sum over images and positions of `gradient`
    (B, H, W, C) times what the tap finds in `x`."""
    require_shapes((gradient, tuple(x.shape)))
    gradient, x, groups = pixels(gradient), pixels(x), max(1, min(GROUPS, len(x)))
    found = x.new_empty((groups, x.shape[3], 1, down, across))
    sizes = (*x.shape, down, across, dilation, x.stride(2), gradient.stride(2), groups)
    call("depthwise_of_kernel", (gradient, x, found), sizes)
    return found.sum(0)


def pixels(x: Tensor) -> Tensor:
    """(B, H, W, C), copied unless channels lie side by side and pixels are equally far apart."""
    images, rows, pixels, channels = x.stride()
    even = channels == 1 and rows == x.shape[2] * pixels and images == x.shape[1] * rows and pixels >= x.shape[3]
    return x if even else dense(x)


def _register() -> None:
    """What compiled graphs and autograd need to know: the three sums are each linear in each of two tensors."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, kernel, _, ctx.dilation, ctx.turned = inputs
        ctx.save_for_backward(x, kernel)

    def gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel = ctx.saved_tensors
        of_x = of_kernel = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = depthwise(gradient, kernel, None, ctx.dilation, not ctx.turned)
        if ctx.needs_input_grad[1]:
            of_kernel = depthwise_of_kernel(gradient, x, *kernel.shape[2:], ctx.dilation)
            of_kernel = of_kernel.flip(2, 3) if ctx.turned else of_kernel
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 1, 2))
        return of_x, of_kernel, of_bias, None, None

    def keep_both(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        gradient, x, _, _, ctx.dilation = inputs
        ctx.save_for_backward(gradient, x)

    def of_both(ctx: Any, kernel: Tensor) -> tuple[Tensor | None, ...]:
        gradient, x = ctx.saved_tensors
        of_gradient = depthwise(x, kernel, None, ctx.dilation, False) if ctx.needs_input_grad[0] else None
        of_x = depthwise(gradient, kernel, None, ctx.dilation, True) if ctx.needs_input_grad[1] else None
        return of_gradient, of_x, None, None, None

    def kernels(_: Tensor, x: Tensor, down: int, across: int, *__: Any) -> Tensor:
        return x.new_empty((x.shape[3], 1, down, across))

    describe(depthwise, shapes=lambda x, *_: x.new_empty(x.shape), gradient=gradients, keep=keep)
    describe(depthwise_of_kernel, shapes=kernels, gradient=of_both, keep=keep_both)


_register()
