"""Two maps mixed, and their mean: derivatives, the formulas, and the split attention that uses them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from stmbench.kernels.mix import mixed, pooled
from stmbench.mixers.ops.contextual import SplitAttention
from tests.kernels import needs_kernels, require_derivatives, require_same_as

pytestmark = needs_kernels


def given(batch: int, height: int, width: int, dim: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    maps, shares = (batch, height, width, dim), (batch, dim)
    return tuple(torch.randn(size, generator=generator) for size in (maps, maps, shares, shares))


def plain_mixed(first: Tensor, second: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a[:, None, None] * first + b[:, None, None] * second


def plain_pooled(first: Tensor, second: Tensor) -> Tensor:
    return (first + second).mean((1, 2))


SIZES = pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 3, 5, 7), (3, 9, 8, 16), (1, 20, 10, 33)])


@SIZES
def test_they_are_the_formulas(size: tuple[int, int, int, int]) -> None:
    require_same_as(mixed, plain_mixed, given(*size))
    require_same_as(pooled, plain_pooled, given(*size)[:2])


def test_derivatives_are_the_numerical_ones() -> None:
    tensors = given(2, 2, 3, 3)
    require_derivatives(mixed, tensors)
    require_derivatives(pooled, tensors[:2])


@pytest.mark.parametrize("threads", [1, 3])
def test_split_attention_is_the_same_without(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    split = SplitAttention(64).train()
    maps = [tensor.permute(0, 3, 1, 2).requires_grad_() for tensor in given(5, 16, 15, 64)[:2]]
    found, before = [], torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for chosen, ran in (("auto", {"mixed": 1, "pooled": 1}), ("off", {})):
            monkeypatch.setenv(VARIABLE, chosen)
            with setting.counted() as calls:
                y = split(*maps)
            assert calls == ran
            # what stands before a norm, the bias, has no gradient but for rounding
            wanted = [*maps, *(p for name, p in split.named_parameters() if name != "reduce.bias")]
            found.append([y.detach(), *torch.autograd.grad(y.sin().sum(), wanted)])
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_it_runs_where_it_is_worth_it() -> None:
    split = SplitAttention(64).train()
    first, second = (tensor.permute(0, 3, 1, 2) for tensor in given(5, 16, 15, 64)[:2])
    with setting.counted() as calls, torch.no_grad():
        split(first, second)  # no gradient: a block's own kernel is for that
    assert not calls
    with setting.counted() as calls:
        split(first[..., :4].requires_grad_(), second[..., :4])
        split(first, second[:, :, :1].requires_grad_())  # which is repeated
        split.double()(first.double().requires_grad_(), second.double())
    assert not calls


@pytest.mark.parametrize("change", ["a share for each position", "half precision"])
def test_shares_that_a_hook_changes(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split = SplitAttention(64).train()
    maps = [tensor.permute(0, 3, 1, 2).requires_grad_() for tensor in given(5, 16, 15, 64)[:2]]
    if change == "half precision":
        split.expand.register_forward_hook(lambda _, __, logits: logits.bfloat16())
    else:
        ramp = torch.linspace(0, 1, 15)
        split.expand.register_forward_hook(lambda _, __, logits: logits.expand(-1, -1, 16, 15) * ramp)
    found = split(*maps)
    monkeypatch.setenv(VARIABLE, "off")
    torch.testing.assert_close(found, split(*maps), rtol=1e-5, atol=1e-5)
