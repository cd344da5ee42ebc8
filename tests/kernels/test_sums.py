"""The kernels' sums: known values, the mixers' own code, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from stmbench.kernels.sums import deformable_sums, grouped_sums, interleaved_sums
from stmbench.mixers.ops.bilinear import deformed_positions, grid_sums
from stmbench.mixers.ops.neighbourhood_sums import contracted_sums
from tests.kernels import needs_kernels, require_same_as

pytestmark = needs_kernels

GRID = torch.tensor([[-1.0, 0.0], [0.5, 0.25], [2.0, -1.5]], dtype=torch.float64)
NO_GRID = torch.zeros(1, 2)


def sampled(x: float, y: float) -> float:
    """The map value(x, y) = x + 10 y, 4 wide and 3 high, at one place."""
    down, across = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    value = (across + 10 * down).view(1, 3, 4, 1)
    offsets = torch.tensor([x, y]).expand(1, 3, 4, 1, 1, 2)
    return float(deformable_sums(value, offsets, torch.ones(1, 3, 4, 1, 1), NO_GRID, 1.0, False)[0, 0, 0, 0])


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ((0.0, 0.0), 0.0),
        ((3.0, 2.0), 23.0),
        ((1.5, 0.5), 6.5),  # between four tokens
        ((-0.5, 1.0), 5.0),  # half of it outside: half of token (0, 1)
        ((3.5, 2.0), 11.5),
        ((0.0, 2.5), 10.0),
        ((-1.0, 0.0), 0.0),  # wholly outside
        ((40.0, -70.0), 0.0),
        ((1e30, 0.0), 0.0),
    ],
)
def test_samples_at_known_positions(place: tuple[float, float], found: float) -> None:
    assert sampled(*place) == pytest.approx(found, abs=1e-6)


def test_the_grid_and_the_scaled_offset_add_up() -> None:
    value = torch.arange(20.0).view(1, 1, 20, 1)
    offsets = torch.tensor([4.0, 0.0]).expand(1, 1, 20, 1, 1, 2)
    y = deformable_sums(value, offsets, torch.ones(1, 1, 20, 1, 1), torch.tensor([[2.0, 0.0]]), 0.5, False)
    assert y[0, 0, :, 0].tolist() == [*range(4, 20), 0, 0, 0, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_positions_that_are_no_number_affect_only_their_own_output(bad: float) -> None:
    value, offsets = torch.ones(1, 4, 4, 2), torch.zeros(1, 4, 4, 1, 3, 2)
    offsets[0, 2, 1, 0, 1, 0] = bad
    y = deformable_sums(value, offsets, torch.ones(1, 4, 4, 1, 3), torch.zeros(3, 2), 1.0, False)
    others = torch.ones(4, 4, dtype=torch.bool)
    others[2, 1] = False
    assert torch.equal(y[0][others], torch.full((15, 2), 3.0))
    assert y[0, 2, 1].isnan().all()


def samples(shape: tuple[int, ...], groups: int, spread: float, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(shape, generator=generator, dtype=dtype)
    offsets = spread * torch.randn(*shape[:3], groups, 3, 2, generator=generator, dtype=dtype)
    return [value, offsets, torch.randn(*shape[:3], groups, 3, generator=generator, dtype=dtype)]


def plain(value: Tensor, offsets: Tensor, weights: Tensor, scale: float, softmax: bool) -> Tensor:
    """The same by PyTorch's grid_sample."""
    positions = deformed_positions(offsets, GRID.to(offsets.dtype), scale)
    return grid_sums(value, positions, weights.softmax(-1) if softmax else weights)


# 16 channels of a group have code of their own, 5 and 1 have not
@pytest.mark.parametrize(("shape", "groups"), [((2, 5, 7, 32), 2), ((1, 1, 9, 15), 3), ((3, 8, 4, 2), 2)])
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("spread", [0.3, 5.0])
def test_deformable_sums_and_gradients_are_the_plain_ones(
    shape: tuple[int, ...], groups: int, softmax: bool, spread: float
) -> None:
    found = []
    for form in (deformable_sums, plain):
        inputs = [tensor.requires_grad_() for tensor in samples(shape, groups, spread)]
        given = (*inputs, GRID, 0.7, softmax) if form is deformable_sums else (*inputs, 0.7, softmax)
        y = form(*given)
        y.sin().sum().backward()
        found.append([y.detach(), *(tensor.grad for tensor in inputs)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("softmax", [False, True])
def test_derivatives_of_deformable_sums_are_the_numerical_ones(softmax: bool) -> None:
    inputs = [tensor.requires_grad_() for tensor in samples((2, 3, 4, 4), 2, 0.3)]
    assert torch.autograd.gradcheck(lambda *given: deformable_sums(*given, GRID, 0.7, softmax), inputs)


def test_slices_of_one_output_are_taken_as_they_are() -> None:
    value, *_ = samples((2, 3, 4, 6), 2, 1.0)
    outputs = torch.randn(2, 3, 4, 20, dtype=torch.float64)
    offsets, weights = outputs[..., :18].unflatten(-1, (2, 9)).split((6, 3), dim=-1)
    offsets = offsets.unflatten(-1, (3, 2))
    assert not offsets.is_contiguous()
    y = deformable_sums(value, offsets, weights, GRID, 1.0, False)
    assert torch.equal(y, deformable_sums(value, offsets.contiguous(), weights.contiguous(), GRID, 1.0, False))
    turned = [tensor.transpose(1, 2) for tensor in (value, offsets, weights)]
    expected = deformable_sums(*(tensor.contiguous() for tensor in turned), GRID, 1.0, False)
    assert torch.equal(deformable_sums(*turned, GRID, 1.0, False), expected)


# side, groups, halves; 8 and 4 groups have code of their own
SUMS = [(3, 4, 1), (3, 4, 2), (5, 8, 1), (7, 3, 1), (1, 2, 2)]


@pytest.mark.parametrize(("side", "groups", "halves"), SUMS)
@pytest.mark.parametrize("size", [(5, 7), (1, 4), (2, 2)])
@pytest.mark.parametrize("form", ["grouped", "interleaved"])
def test_neighbourhood_sums_and_gradients_are_the_plain_ones(
    side: int, groups: int, halves: int, size: tuple[int, int], form: str
) -> None:
    if form == "grouped":
        kernel, plain_halves = (lambda values, weights: grouped_sums(values, weights, side)), groups
    else:
        kernel, plain_halves = (lambda values, weights: interleaved_sums(values, weights, side, halves)), halves
    found = []
    for function in (
        kernel,
        lambda values, weights: contracted_sums(values, weights.permute(4, 0, 1, 2, 3), side, plain_halves),
    ):
        generator = torch.Generator().manual_seed(0)
        values = torch.randn(2, *size, 24, generator=generator, dtype=torch.float64, requires_grad=True)
        weights = torch.randn(2, *size, groups, side**2, generator=generator, dtype=torch.float64, requires_grad=True)
        y = function(values, weights)
        y.sin().sum().backward()
        found.append([y.detach(), values.grad, weights.grad])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


# channels, groups, halves, side: groups of less than a vector, of one and more, channels that fill none
WIDTHS = [(96, 12, 1, 3), (384, 48, 1, 3), (128, 32, 2, 3), (33, 11, 1, 5), (8, 1, 1, 3), (2, 2, 1, 7), (264, 33, 1, 3)]


@pytest.mark.parametrize(("channels", "groups", "halves", "side"), WIDTHS)
@pytest.mark.parametrize("threads", [1, 3])
def test_interleaved_sums_of_all_widths(channels: int, groups: int, halves: int, side: int, threads: int) -> None:
    def ours(values: Tensor, weights: Tensor) -> Tensor:
        return interleaved_sums(values, weights, side, halves)

    def theirs(values: Tensor, weights: Tensor) -> Tensor:
        return contracted_sums(values, weights.permute(4, 0, 1, 2, 3), side, halves)

    generator, before = torch.Generator().manual_seed(0), torch.get_num_threads()
    values = torch.randn(2, 4, 3, channels, generator=generator)
    weights = torch.randn(2, 4, 3, groups, side**2, generator=generator)
    torch.set_num_threads(threads)
    try:
        require_same_as(ours, theirs, (values, weights))
    finally:
        torch.set_num_threads(before)


def test_sums_over_no_channels() -> None:
    values, weights = torch.ones(1, 2, 2, 0, requires_grad=True), torch.ones(1, 2, 2, 1, 9, requires_grad=True)
    y = interleaved_sums(values, weights, 3, 1)
    y.sum().backward()
    assert weights.grad is not None
    assert (weights.grad == 0).all()


@pytest.mark.parametrize("operator", [grouped_sums, interleaved_sums])
def test_derivatives_of_neighbourhood_sums_are_the_numerical_ones(operator: object) -> None:
    assert callable(operator)
    values = torch.randn(2, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 4, 2, 9, dtype=torch.float64, requires_grad=True)
    numbers = (3,) if operator is grouped_sums else (3, 2)
    assert torch.autograd.gradcheck(lambda *given: operator(*given, *numbers), (values, weights))


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads: int) -> None:
    inputs = [tensor.requires_grad_() for tensor in samples((1, 6, 5, 8), 2, 2.0, torch.float32)]
    values = torch.randn(1, 7, 5, 16, requires_grad=True)
    weights = torch.randn(1, 7, 5, 4, 25, requires_grad=True)

    def everything() -> list[Tensor]:
        found = []
        for y, given in (
            (deformable_sums(*inputs, GRID.float(), 1.0, True), inputs),
            (grouped_sums(values, weights, 5), (values, weights)),
            (interleaved_sums(values, weights, 5, 1), (values, weights)),
        ):
            found += [y.detach(), *torch.autograd.grad(y.square().sum(), given)]
        return found

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = everything()
        torch.set_num_threads(threads)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(everything(), alone, strict=True))
    finally:
        torch.set_num_threads(before)


def test_pytorch_accepts_the_operators() -> None:
    inputs = [tensor.requires_grad_() for tensor in samples((1, 3, 4, 4), 2, 0.3)]
    opcheck(deformable_sums, (*inputs, GRID, 0.7, True))
    values = torch.randn(1, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 3, 4, 2, 9, dtype=torch.float64, requires_grad=True)
    opcheck(grouped_sums, (values, weights, 3))
    opcheck(interleaved_sums, (values, weights, 3, 2))


def test_an_empty_batch_gives_an_empty_output() -> None:
    value, offsets, weights = (tensor[:0] for tensor in samples((1, 3, 4, 4), 2, 0.3))
    assert deformable_sums(value, offsets, weights, GRID, 1.0, True).shape == (0, 3, 4, 4)
    assert grouped_sums(value, torch.zeros(0, 3, 4, 2, 9, dtype=torch.float64), 3).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1)])
def test_what_was_permuted_is_read_as_it_lies(size: tuple[int, int]) -> None:
    grid = torch.randn(9, 2, dtype=torch.float64)
    shapes = ((3, *size, 8), (3, *size, 2, 9, 2), (3, *size, 2, 9))
    channels_first = [torch.randn(s[0], *s[3:], *size, dtype=torch.float64) for s in shapes]
    permuted = [each.movedim((-2, -1), (1, 2)) for each in channels_first]
    plain = [torch.empty(each.shape, dtype=each.dtype).copy_(each) for each in permuted]
    found, expected = (
        (deformable_sums(*given, grid, 1.0, True), grouped_sums(given[0], given[2], 3)) for given in (permuted, plain)
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
