"""Halo attention's kernels: the mixer's own code, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from stmbench.kernels.halo import halo_tokens
from stmbench.mixers.ops.windows import _HaloTokens, _unfolded
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
def test_derivatives_are_the_numerical_ones() -> None:
    kv = torch.randn(1, 4, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda kv: halo_tokens(kv, 2, 2, 1, 4), kv)


@needs_kernels
def test_pytorch_accepts_the_operators() -> None:
    opcheck(halo_tokens, (torch.randn(1, 4, 6, 8, requires_grad=True), 2, 2, 1, 4))
