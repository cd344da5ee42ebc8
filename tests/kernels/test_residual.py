"""The end of a residual branch, with a gradient: derivatives, the formula, where it runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stmbench.architectures.blocks import BlockConfig, Branch
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from stmbench.kernels.residual import scaled_residual
from tests.kernels import differentiated, needs_kernels, require_derivatives, require_same_as

pytestmark = needs_kernels
PART = torch.tensor([0.0, 1.25, 1.0])


def given(*shape: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(size, generator=generator) for size in (shape, shape, shape[-1:]))


def ours(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    return scaled_residual(x, y, scale, PART.to(x.dtype))


def plain(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    return x + PART.to(x.dtype).view(-1, *[1] * (x.ndim - 1)) * scale * y


def test_derivatives_are_the_numerical_ones() -> None:
    require_derivatives(ours, given(3, 2, 2, 5))


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 5, 7, 16), (3, 70, 33)])
def test_it_is_the_formula(shape: tuple[int, ...]) -> None:
    require_same_as(ours, plain, given(*shape))


def test_without_parts_it_takes_all() -> None:
    x, y, scale = given(2, 3, 8)
    torch.testing.assert_close(scaled_residual(x, y, scale), x + scale * y)


def test_maps_in_another_order() -> None:
    x, y, scale = given(3, 6, 5, 24)
    turned = [tensor.transpose(1, 2) for tensor in (x, y)]
    assert not turned[0].is_contiguous()
    expected = differentiated(plain, (*turned, scale))
    for one, other in zip(differentiated(ours, (*turned, scale)), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("drop_path", [0.0, 0.6])
def test_a_branch_gives_the_same_without(drop_path: float, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = Branch(BlockConfig(dim=64, mlp_ratio=1, norm_eps=1e-6, drop_path=drop_path, scale=0.5)).train()
    x, y, _ = given(16, 16, 16, 64)
    x.requires_grad_()
    found = []
    for chosen, ran in (("auto", 1), ("off", 0)):
        monkeypatch.setenv(VARIABLE, chosen)
        torch.manual_seed(1)
        with setting.counted() as calls:
            sums = branch(x, y)
        assert calls["scaled_residual"] == ran
        found.append((sums.detach(), *torch.autograd.grad(sums.sin().sum(), [x, branch.scale]), torch.rand(1)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_it_runs_where_it_is_the_same_and_worth_it() -> None:
    branch = Branch(BlockConfig(dim=64, mlp_ratio=1, norm_eps=1e-6, drop_path=0.0, scale=0.5))
    x, y, _ = given(16, 16, 16, 64)
    with setting.counted() as calls:
        branch(x[:1], y[:1])
        branch(x.double(), y.double())
        branch(x, y[..., :1])  # which is repeated
        with torch.no_grad():
            branch(x, y)
        Branch(BlockConfig(dim=64, mlp_ratio=1, norm_eps=1e-6, drop_path=0.0, scale=None))(x, y)
    assert not calls
