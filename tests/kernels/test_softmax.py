"""Softmaxes with terms added: the plain form, numerical derivatives, small shares, PyTorch's checks of an operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from stmbench.kernels.softmax import biased_softmax, relative_softmax
from stmbench.mixers.ops.windows import relative_bias
from tests.kernels import needs_kernels

Form = Callable[..., Tensor]


def assert_same(ours: Form, plain: Form, given: list[Tensor]) -> None:
    """Outputs and gradients."""
    weight = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for form in (ours, plain):
        inputs = [tensor.clone().requires_grad_() for tensor in given]
        y = form(*inputs)
        (y * weight).sum().backward()
        found.append([y.detach(), *(tensor.grad for tensor in inputs)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


@needs_kernels
# columns below a vector's length, at it, and beyond all that have code of their own
@pytest.mark.parametrize(("rows", "columns"), [(13, 13), (8, 8), (1, 1), (3, 17), (2, 40), (16, 16), (1, 5)])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_relative_terms_and_their_gradients_are_the_plain_ones(rows: int, columns: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, rows * columns), (2, 3, rows), (2, 3, columns)]
    assert_same(
        lambda logits, *terms: relative_softmax(logits, *terms, scale),
        lambda logits, *terms: (scale * logits + relative_bias(*terms)).softmax(-1),
        [10 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes],
    )


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
@pytest.mark.parametrize("lead", [(3, 2), (1, 2), (3, 1), (1, 1)])  # of the bias, for logits of (3, 2)
@pytest.mark.parametrize("keys", [1, 5, 16, 49])
def test_a_bias_and_its_gradient_are_the_plain_ones(lead: tuple[int, int], keys: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 2, 4, keys), (*lead, 4, keys)]
    assert_same(
        lambda logits, bias: biased_softmax(logits, bias, 0.3),
        lambda logits, bias: (0.3 * logits + bias).softmax(-1),
        [10 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes],
    )


@needs_kernels
def test_no_share_is_too_small_for_a_normal_number() -> None:
    logits = torch.linspace(-120, 0, 1000)[:, None].repeat(1, 49)  # the largest share is of the last key
    logits[:, -1] = 0
    given = logits.view(1, 1, 1000, 49), torch.zeros(1, 1, 1000, 49)
    for shares in (
        biased_softmax(*given, 1.0),
        relative_softmax(given[0], torch.zeros(1, 1, 1000, 7), torch.zeros(1, 1, 1000, 7), 1.0),
    ):
        assert (shares == 0).any()
        assert shares[shares > 0].min() >= torch.finfo(torch.float32).tiny
        torch.testing.assert_close(shares[0, 0], logits.softmax(-1), rtol=1e-5, atol=2e-38)


@needs_kernels
def test_derivatives_are_the_numerical_ones() -> None:
    given = [torch.randn(2, 3, n, dtype=torch.float64, requires_grad=True) for n in (12, 3, 4)]
    assert torch.autograd.gradcheck(lambda *given: relative_softmax(*given, 0.3), given)
    given = [torch.randn(n, 3, 2, 5, dtype=torch.float64, requires_grad=True) for n in (2, 1)]
    assert torch.autograd.gradcheck(lambda *given: biased_softmax(*given, 0.3), given)


@needs_kernels
def test_pytorch_accepts_the_operators() -> None:
    opcheck(relative_softmax, (*(torch.randn(2, 3, n, requires_grad=True) for n in (12, 3, 4)), 0.3))
    opcheck(biased_softmax, (*(torch.randn(n, 3, 2, 5, requires_grad=True) for n in (2, 1)), 0.3))
