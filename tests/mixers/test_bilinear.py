"""Bilinear sampling: the two implementations agree with each other and with what can be read off a map."""

from __future__ import annotations

import pytest
import torch

from stmbench.mixers.ops.bilinear import gathered_sums, grid_sums, softmax_of_few, weighted_samples


def sampled(place: tuple[float, float], how: object) -> float:
    """The map value(x, y) = x + 10 y, 4 wide and 3 high, sampled at one place by every output with weight 1."""
    y, x = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    value = (x + 10 * y).view(1, 3, 4, 1)
    places = torch.tensor(place).expand(1, 3, 4, 1, 1, 2)
    assert callable(how)
    return float(how(value, places, torch.ones(1, 3, 4, 1, 1))[0, 0, 0, 0])


PLACES = {
    (0.0, 0.0): 0.0,
    (3.0, 2.0): 23.0,
    (1.5, 0.5): 6.5,  # between four tokens
    (-0.5, 1.0): 5.0,  # half of it outside: half of token (0, 1)
    (3.5, 2.0): 11.5,
    (0.0, 2.5): 10.0,
    (-1.0, 0.0): 0.0,  # wholly outside
    (40.0, -70.0): 0.0,
}


@pytest.mark.parametrize("how", [grid_sums, gathered_sums, weighted_samples])
@pytest.mark.parametrize("place", PLACES)
def test_samples_at_known_positions(place: tuple[float, float], how: object) -> None:
    assert sampled(place, how) == pytest.approx(PLACES[place], abs=1e-5)


@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("shape", [(2, 5, 7, 12, 3), (1, 1, 9, 4, 1), (3, 8, 8, 16, 2)])
def test_both_implementations_agree(shape: tuple[int, ...], spread: float) -> None:
    batch, height, width, dim, groups = shape
    torch.manual_seed(0)
    value = torch.randn(batch, height, width, dim, dtype=torch.float64)
    places = spread * torch.randn(batch, height, width, groups, 9, 2, dtype=torch.float64)
    weights = torch.rand(batch, height, width, groups, 9, dtype=torch.float64)
    assert torch.allclose(grid_sums(value, places, weights), gathered_sums(value, places, weights), atol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_non_finite_positions_affect_only_their_own_output(bad: float) -> None:
    """torchvision's deform_conv2d reads outside its memory on NaN offsets; here they spoil their own output alone."""
    value, weights = torch.ones(1, 4, 4, 2), torch.ones(1, 4, 4, 1, 9)
    places = torch.zeros(1, 4, 4, 1, 9, 2)
    places[0, 2, 1, 0, 3, 0] = bad
    y = gathered_sums(value, places, weights)
    others = torch.ones(4, 4, dtype=torch.bool)
    others[2, 1] = False
    assert torch.allclose(y[0][others], torch.tensor(9.0))


def test_gradients_use_the_differentiable_form() -> None:
    value = torch.randn(1, 4, 4, 2, dtype=torch.float64, requires_grad=True)
    places = torch.randn(1, 4, 4, 1, 9, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 4, 4, 1, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(weighted_samples, (value, places, weights))


def test_small_softmax_equals_softmax() -> None:
    logits = 5 * torch.randn(3, 4, 9, dtype=torch.float64)
    assert torch.allclose(softmax_of_few(logits), logits.softmax(dim=-1), rtol=1e-12)
    assert softmax_of_few(torch.randn(2, 40)).shape == (2, 40)
