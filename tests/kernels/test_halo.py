"""Halo attention's kernels: the mixer's own code, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from stmbench.kernels.halo import halo_tokens, relative_softmax
from stmbench.mixers.ops.windows import _HaloTokens, _unfolded, relative_bias
from tests.kernels import needs_kernels

# heads, window, before, reach; a map that is a multiple of the window
WINDOWS = [(2, 2, 1, 4), (1, 3, 0, 5), (2, 4, 2, 8), (2, 2, 3, 9), (1, 3, 0, 3), (1, 2, 4, 6)]


@pytest.mark.parametrize(("heads", "window", "before", "reach"), WINDOWS)
@pytest.mark.parametrize("form", [pytest.param("kernel", marks=needs_kernels), "blocks"])
def test_tokens_and_gradients_are_the_unfolded_ones(
    heads: int, window: int, before: int, reach: int, form: str
) -> None:
    found = []
    for function in (halo_tokens if form == "kernel" else _HaloTokens.apply, _unfolded):
        generator = torch.Generator().manual_seed(0)
        kv = torch.randn(2, 2 * window, 3 * window, 12, generator=generator, dtype=torch.float64, requires_grad=True)
        keys, values = function(kv, heads, window, before, reach)
        (keys.sin().sum() + values.square().sum()).backward()
        found.append([keys.detach(), values.detach(), kv.grad])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@needs_kernels
def test_tokens_outside_the_map_are_zero() -> None:
    kv = torch.arange(1.0, 9.0).view(1, 2, 2, 2)  # one key and one value of each token
    keys, values = halo_tokens(kv, 1, 2, 1, 4)
    assert keys.view(4, 4).tolist() == [[0, 0, 0, 0], [0, 1, 3, 0], [0, 5, 7, 0], [0, 0, 0, 0]]
    assert values.view(4, 4).tolist() == [[0, 0, 0, 0], [0, 2, 4, 0], [0, 6, 8, 0], [0, 0, 0, 0]]


@needs_kernels
# columns below a vector's length, at it, and beyond all that have code of their own
@pytest.mark.parametrize(("rows", "columns"), [(13, 13), (8, 8), (1, 1), (3, 17), (2, 40), (16, 16), (1, 5)])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_softmax_and_gradients_are_the_plain_ones(rows: int, columns: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, rows * columns), (2, 3, rows), (2, 3, columns)]
    given = [10 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    weight = torch.randn(shapes[0], generator=generator, dtype=torch.float64)
    found = []
    for form in (
        lambda logits, *terms: relative_softmax(logits, *terms, scale),
        lambda logits, *terms: (scale * logits + relative_bias(*terms)).softmax(-1),
    ):
        inputs = [tensor.clone().requires_grad_() for tensor in given]
        y = form(*inputs)
        (y * weight).sum().backward()
        found.append([y.detach(), *(tensor.grad for tensor in inputs)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


@needs_kernels
def test_softmax_of_single_precision_is_as_exact_as_pytorchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, vertical, horizontal = (30 * torch.randn(2000, n, generator=generator) for n in (169, 13, 13))
    given = logits + relative_bias(vertical, horizontal)
    exact = given.double().softmax(-1)
    ours = relative_softmax(given, torch.zeros(2000, 13), torch.zeros(2000, 13), 1.0)
    seen = exact > 1e-30  # smaller ones become 0
    worst, theirs = (((y - exact).abs() / exact)[seen].max() for y in (ours, given.softmax(-1)))
    assert worst < 1.5 * theirs < 1e-5
    assert (ours[exact < 1e-39] == 0).all()
    torch.testing.assert_close(ours.sum(-1), torch.ones(2000), rtol=1e-6, atol=0)


@needs_kernels
def test_masked_keys_have_no_weight_and_numbers_that_are_none_spoil_their_row_alone() -> None:
    logits, horizontal = torch.randn(3, 6), torch.zeros(3, 3)
    vertical = torch.tensor([[0.0, torch.finfo(torch.float32).min / 4]]).repeat(3, 1)
    logits[1, 2] = torch.nan
    y = relative_softmax(logits, vertical, horizontal, 1.0)
    assert (y[[0, 2], 3:] == 0).all()
    torch.testing.assert_close(y[0, :3], logits[0, :3].softmax(-1))
    assert y[1].isnan().all()


@needs_kernels
def test_derivatives_are_the_numerical_ones() -> None:
    kv = torch.randn(1, 4, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda kv: halo_tokens(kv, 2, 2, 1, 4), kv)
    given = [torch.randn(2, 3, n, dtype=torch.float64, requires_grad=True) for n in (12, 3, 4)]
    assert torch.autograd.gradcheck(lambda *given: relative_softmax(*given, 0.3), given)


@needs_kernels
def test_pytorch_accepts_the_operators() -> None:
    opcheck(halo_tokens, (torch.randn(1, 4, 6, 8, requires_grad=True), 2, 2, 1, 4))
    opcheck(relative_softmax, (*(torch.randn(2, 3, n, requires_grad=True) for n in (12, 3, 4)), 0.3))
