"""Tests of the compiled kernels; those that run one are skipped without a compiler, and where kernels are off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stmbench.kernels import library, setting

needs_kernels = pytest.mark.skipif(not setting.are_ready(), reason=library.load().reason or "they are off")


def require_derivatives(function: Callable[..., Tensor], given: tuple[Tensor, ...]) -> None:
    """First and second derivatives with respect to all that is given, in float64, are the numerical ones."""
    inputs = tuple(tensor.double().requires_grad_() for tensor in given)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def differentiated(function: Callable[..., Tensor], given: tuple[Tensor, ...]) -> list[Tensor]:
    """The result, and the gradients of all that is given for an uneven gradient of the result."""
    inputs = [tensor.detach().requires_grad_() for tensor in given]
    y = function(*inputs)
    weights = torch.arange(y.numel(), dtype=y.dtype).view(y.shape).sin()
    return [y.detach(), *torch.autograd.grad(y, inputs, weights)]


def require_same_as(
    function: Callable[..., Tensor], plain: Callable[..., Tensor], given: tuple[Tensor, ...], close: float = 3e-6
) -> None:
    """In float32, results and gradients are the plain form's in float64, but for `close` of the largest number."""
    ours = differentiated(function, given)
    theirs = differentiated(plain, tuple(tensor.double() for tensor in given))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=0, atol=close * max(1.0, float(other.abs().max())))


def require_same_with_threads(
    module: Callable[[Tensor], Tensor], x: Tensor, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many threads give what the plain form gives."""
    monkeypatch.setenv(library.VARIABLE, "off")
    expected = module(x)
    monkeypatch.delenv(library.VARIABLE)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def require_same_by_default_dtype(module: Callable[[Tensor], Tensor], x: Tensor, expected: Tensor) -> None:
    """Another default dtype changes nothing."""
    torch.set_default_dtype(torch.float64)
    try:
        found = module(x)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
