"""What halo attention copies, as operators of PyTorch with a backward pass: see `stmbench.kernels.sums`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stmbench.kernels.library import call, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("halo_tokens", device="cpu")
def halo_tokens(kv: Tensor, heads: int, window: int, before: int, reach: int) -> tuple[Tensor, Tensor]:
    """Keys and values of the tokens around each window, zero outside the map.

    Args:
        kv: (B, H, W, 2 C), head by head its keys, then its values; H and W are multiples of `window`.
        heads: among which the channels are split.
        window: side of a window.
        before: tokens above and left of it that belong to its keys.
        reach: side of its keys' window.

    Returns:
        Two tensors (B * windows, heads, reach^2, C / heads).
    """
    sizes = _sizes(kv.shape, heads, window, before, reach)
    batch, height, width, channels = kv.shape
    whole = (batch, height // window * window, width // window * window, channels // (2 * heads) * 2 * heads)
    require_shapes((kv, whole))
    keys, values = _tokens(kv, sizes)
    call("halo_tokens", (kv.contiguous(), keys, values), sizes)
    return keys, values


@operator("halo_tokens_backward", device="cpu")
def halo_tokens_backward(
    of_keys: Tensor, of_values: Tensor, shape: list[int], heads: int, window: int, before: int, reach: int
) -> Tensor:
    """The gradient of kv, of `shape`: every token's is a sum over the windows whose keys it is among."""
    of_kv = of_keys.new_empty(shape)
    sizes = _sizes(shape, heads, window, before, reach)
    call("halo_tokens_backward", (of_keys.contiguous(), of_values.contiguous(), of_kv), sizes)
    return of_kv


def _sizes(shape: Any, heads: int, window: int, before: int, reach: int) -> tuple[int, ...]:
    batch, height, width, channels = shape
    return batch, height, width, heads, channels // (2 * heads), window, before, reach


def _tokens(kv: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Keys and values, not filled."""
    batch, height, width, heads, depth, window, _, reach = sizes
    shape = (batch * (height // window) * (width // window), heads, reach**2, depth)
    return kv.new_empty(shape), kv.new_empty(shape)


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def keep_numbers(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.shape, ctx.numbers = list(inputs[0].shape), inputs[1:]

    def of_kv(ctx: Any, of_keys: Tensor, of_values: Tensor) -> tuple[Tensor | None, ...]:
        return (halo_tokens_backward(of_keys, of_values, ctx.shape, *ctx.numbers), None, None, None, None)

    def shapes(kv: Tensor, *numbers: int) -> tuple[Tensor, Tensor]:
        return _tokens(kv, _sizes(kv.shape, *numbers))

    describe(halo_tokens, shapes=shapes, gradient=of_kv, keep=keep_numbers)
    describe(halo_tokens_backward, shapes=lambda of_keys, of_values, shape, *_: of_keys.new_empty(shape))


_register()
