"""Softmaxes whose logits have something added to them, as operators of PyTorch with a backward pass: see
`stmbench.kernels.sums`. Shares too small for a normal number are 0."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stmbench.kernels.library import call, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("relative_softmax", device="cpu")
def relative_softmax(logits: Tensor, vertical: Tensor, horizontal: Tensor, scale: float) -> Tensor:
    """Softmax over the keys (i, j) of scale * logits + vertical[i] + horizontal[j].

    Args:
        logits: (..., rows * columns), keys row by row.
        vertical: (..., rows), a term of the key's row.
        horizontal: (..., columns), a term of its column.
        scale: of the logits.

    Returns:
        (..., rows * columns), of sum 1.
    """
    lead, rows, columns = tuple(logits.shape[:-1]), vertical.shape[-1], horizontal.shape[-1]
    require_shapes((logits, (*lead, rows * columns)), (vertical, (*lead, rows)), (horizontal, (*lead, columns)))
    shares = logits.new_empty(logits.shape)
    given = (logits.contiguous(), vertical.contiguous(), horizontal.contiguous())
    call("relative_softmax", (*given, shares), _rows(vertical, horizontal), scale)
    return shares


@operator("relative_softmax_backward", device="cpu")
def relative_softmax_backward(
    shares: Tensor, gradient: Tensor, rows: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of logits, vertical and horizontal."""
    gradients = _terms(shares, rows)
    call("relative_softmax_backward", (shares, gradient.contiguous(), *gradients), _rows(*gradients[1:]), scale)
    return gradients


def _rows(vertical: Tensor, horizontal: Tensor) -> tuple[int, ...]:
    return vertical.shape[:-1].numel(), vertical.shape[-1], horizontal.shape[-1]


def _terms(shares: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    lead, keys = shares.shape[:-1], shares.shape[-1]
    vertical, horizontal = shares.new_empty((*lead, rows)), shares.new_empty((*lead, keys // rows))
    return shares.new_empty(shares.shape), vertical, horizontal


@operator("biased_softmax", device="cpu")
def biased_softmax(logits: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Softmax over the last dimension of scale * logits + bias.

    Args:
        logits: (A, B, queries, keys).
        bias: (A or 1, B or 1, queries, keys).
        scale: of the logits.

    Returns:
        (A, B, queries, keys), of sum 1.
    """
    outer, inner = (1 if own == 1 else whole for own, whole in zip(bias.shape, logits.shape[:2], strict=False))
    require_shapes((bias, (outer, inner, *logits.shape[2:])))
    shares = logits.new_empty(logits.shape)
    call("biased_softmax", (logits.contiguous(), bias.contiguous(), shares), (*logits.shape, *bias.shape[:2]), scale)
    return shares


@operator("biased_softmax_backward", device="cpu")
def biased_softmax_backward(
    shares: Tensor, gradient: Tensor, outer: int, inner: int, scale: float
) -> tuple[Tensor, Tensor]:
    """The gradients of logits and bias, (outer, inner, queries, keys)."""
    gradients = _logits_and_bias(shares, outer, inner)
    sizes = (*shares.shape, outer, inner)
    call("biased_softmax_backward", (shares, gradient.contiguous(), *gradients), sizes, scale)
    return gradients


def _logits_and_bias(shares: Tensor, outer: int, inner: int) -> tuple[Tensor, Tensor]:
    return shares.new_empty(shares.shape), shares.new_empty((outer, inner, *shares.shape[2:]))


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def keep_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.numbers = inputs[1].shape[-1], inputs[3]

    def of_relative(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*relative_softmax_backward(*ctx.saved_tensors, gradient, *ctx.numbers), None)

    def keep_sizes(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.numbers = *inputs[1].shape[:2], inputs[2]

    def of_biased(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*biased_softmax_backward(*ctx.saved_tensors, gradient, *ctx.numbers), None)

    def shares(logits: Tensor, *_: Any) -> Tensor:
        return logits.new_empty(logits.shape)

    describe(relative_softmax, shapes=shares, gradient=of_relative, keep=keep_rows)
    describe(relative_softmax_backward, shapes=lambda shares, gradient, rows, _: _terms(shares, rows))
    describe(biased_softmax, shapes=shares, gradient=of_biased, keep=keep_sizes)
    describe(
        biased_softmax_backward, shapes=lambda shares, gradient, outer, inner, _: _logits_and_bias(shares, outer, inner)
    )


_register()
