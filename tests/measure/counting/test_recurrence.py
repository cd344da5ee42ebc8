"""Scans written as elementwise operations are counted, other elementwise work is named, complex numbers cost more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.analyses.profile.costs import Cost, left_out
from stmbench.measure.counting import Tally, count
from tests.measure.counting.operations import Operation

STEPS, DIM = 16, 8
ONE = STEPS * DIM  # a multiply-add for each element of each step


def from_zero(x: Tensor) -> Tensor:
    state, states, keep = torch.zeros_like(x[:, 0]), [], x.sigmoid()
    for step in range(STEPS):
        state = keep[:, step] * state + x[:, step]
        states.append(state)
    return torch.stack(states, 1)


def from_the_first(x: Tensor) -> Tensor:
    states: list[Tensor] = []
    for keep, new in zip(x.sigmoid().unbind(1), x.unbind(1), strict=True):
        states.append(torch.addcmul(new, keep, states[-1]) if states else new)
    return torch.stack(states, 1)


def backwards_with_a_number(x: Tensor) -> Tensor:
    state = torch.zeros_like(x[:, 0])
    for step in reversed(range(STEPS)):
        state = 0.9 * state - x[:, step]
    return state


def bent(x: Tensor) -> Tensor:
    state, keep = torch.zeros_like(x[:, 0]), x.sigmoid()
    for step in range(STEPS):
        state = torch.tanh(keep[:, step] * state + x[:, step])
    return state


def by_doubling(x: Tensor) -> Tensor:
    keep, state, reach = x.sigmoid(), x, 1
    while reach < STEPS:
        state = state + keep * F.pad(state[:, :-reach], (0, 0, reach, 0))
        keep, reach = keep * F.pad(keep[:, :-reach], (0, 0, reach, 0)), 2 * reach
    return state


def complex_state(x: Tensor) -> Tensor:
    spun = torch.complex(x, x)
    state = torch.zeros_like(spun[:, 0])
    for step in range(STEPS):
        state = spun[:, step] * state + spun[:, step]
    return state.abs()


SCANS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "from zero": (from_zero, ONE),
    "from the first position": (from_the_first, ONE - DIM),
    "backwards, one decay for all": (backwards_with_a_number, ONE),
    "with a non-linearity": (bent, ONE),
    "in log2 N doublings": (by_doubling, 4 * ONE),
    "of complex numbers": (complex_state, 4 * ONE),
}


@pytest.mark.parametrize("scan", SCANS)
def test_a_scan_costs_a_multiply_add_for_each_element_and_step(scan: str) -> None:
    function, expected = SCANS[scan]
    assert dict(count(Operation(function), (STEPS, DIM)).total.kinds) == {"recurrence": expected}


def horner(x: Tensor) -> Tensor:
    return ((x * x + 1) * x + 2) * x + 3


def layers(x: Tensor) -> Tensor:
    for _ in range(4):
        x = x + torch.ones_like(x) * x.tanh()
    return x


def product_of_complex_numbers(x: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * pairs)


FREE: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "a polynomial": (horner, 3 * ONE),
    "layers with a scale": (layers, 4 * ONE),
    "a product of complex numbers": (product_of_complex_numbers, 4 * ONE // 2),
    "a complex number by a real one": (lambda x: (torch.complex(x, x) * x).abs(), 2 * ONE),
    "exponentials": (lambda x: x.exp() / 2, 2 * ONE),
    "sums": (lambda x: x + x - 1, 0),
}


@pytest.mark.parametrize("case", FREE)
def test_other_elementwise_work_is_free_and_named(case: str) -> None:
    function, elementwise = FREE[case]
    total = count(Operation(function), (STEPS, DIM)).total
    assert (dict(total.kinds), total.elementwise) == ({}, elementwise)


def test_counted_operations_are_not_elementwise_too() -> None:
    total = count(Operation(lambda x: (x * x.sigmoid()).sum(-1)), (STEPS, DIM)).total
    assert (total.macs, total.elementwise) == (ONE, 0)
    assert count(Operation(from_zero), (STEPS, DIM)).total.elementwise == 0


def test_a_product_of_complex_matrices_costs_four_real_ones() -> None:
    both = count(Operation(lambda x: (torch.complex(x, x) @ torch.complex(x, x).mT).abs()), (STEPS, DIM))
    assert both.macs == 4 * STEPS * STEPS * DIM
    one = count(Operation(lambda x: torch.einsum("bnc,bmc->bnm", torch.complex(x, x), x + 0j).abs()), (STEPS, DIM))
    assert one.macs == 4 * STEPS * STEPS * DIM


@pytest.mark.parametrize(("elementwise", "said"), [(0, None), (5, None), (6, "6 elementwise multiplications, 6 %")])
def test_large_elementwise_share_is_warned_of(elementwise: int, said: str | None) -> None:
    assert Tally(kinds={"conv": 94}, elementwise=6).elementwise_share == 0.06
    notes = left_out("m", [Cost(metric="macs", value=95), Cost(metric="elementwise", value=elementwise)])
    assert bool(notes) == (said is not None)
    if said is not None:
        (disturbance,) = notes["disturbances"]
        assert notes["warnings"] == [disturbance["text"]]
        assert disturbance["text"] == f"m: macs leave out {said} of all of them"
        assert disturbance["amount"] == pytest.approx(6 / 101)


def test_arithmetic_on_indices_is_free() -> None:
    class Gathered(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            first = torch.arange(4)[:, None] * 2 + torch.arange(2)
            return x[:, (first[:, None] * 2 + torch.arange(2)[None, :, None]).flatten()]

    assert count(Gathered(), (STEPS, DIM)).macs == 0
