"""Operators in Python: no compiler until something is compiled, and no silent second derivative."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from stmbench.kernels import branches, depthwise, fourier, group_norm, halo, halo_attention, roi_align, softmax, sums
from stmbench.kernels.operators import describe, operator
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.ops import scan
from tests.kernels import needs_kernels

FORWARD_AND_BACKWARD = """
import sys, torch
from stmbench.mixers.base import MIXERS, BlockPosition
for name in ("halo_attn", "sw_attn", "dcnv3", "cot", "global_filter", "inception_dw_conv", "rep_large_kernel", "ss2d"):
    mixer = MIXERS.get(name).build(BlockPosition(stage=0, block=1, dim=32, resolution=(14, 14)))
    mixer(torch.randn(2, 14, 14, 32, requires_grad=True)).sum().backward()
    assert not {"torch._dynamo", "sympy"} & set(sys.modules), name
"""


def test_mixers_run_without_importing_the_compiler() -> None:
    """It takes a second and 150 MB, in every command that runs a model."""
    run = subprocess.run([sys.executable, "-c", FORWARD_AND_BACKWARD], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_operator_says_what_its_derivative_is_or_that_it_has_none() -> None:
    modules = (branches, depthwise, fourier, group_norm, halo, halo_attention, roi_align, softmax, sums, scan)
    made = {value.name() for module in modules for value in vars(module).values() if hasattr(value, "_schema")}
    assert len(made) >= 23
    for name in made:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "Autograd"), name


@needs_kernels
def test_a_second_derivative_is_an_error_where_there_is_none() -> None:
    kv = torch.randn(1, 4, 4, 8, requires_grad=True)
    keys, _ = halo.halo_tokens(kv, 2, 2, 1, 4)
    (gradient,) = torch.autograd.grad(keys.square().sum(), kv, create_graph=True)
    with pytest.raises(RuntimeError, match=r"halo_tokens_backward.* has no derivative: expected at most one backward"):
        gradient.sum().backward()


class Nothing(torch.autograd.Function):
    """The identity, without a gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> None:
        return None


@pytest.mark.parametrize(
    "name",
    ["halo_attn", "sw_attn", "dw_conv", "dcnv3", "cot", "involution", "global_filter", "inception_dw_conv", "ss2d"],
)
def test_what_has_no_gradient_passes_none_on(name: str) -> None:
    """As PyTorch's own operators; zeros in its place an optimizer would take for a gradient, and decay the weights."""
    mixer = MIXERS.get(name).build(BlockPosition(stage=0, block=1, dim=32, resolution=(28, 28)))
    x = torch.randn(2, 28, 28, 32, requires_grad=True)
    Nothing.apply(mixer(x)).sum().backward()
    assert all(tensor.grad is None for tensor in (x, *mixer.parameters()))


@needs_kernels
def test_roi_align_passes_no_gradient_on_either() -> None:
    maps, regions = [torch.randn(1, 4, 8, 8, requires_grad=True) for _ in range(2)], torch.tensor([[0.0, 0, 0, 4, 4]])
    cuts = roi_align.roi_align(maps, regions, torch.tensor([0]), [1.0, 0.5], 2, 2, 2, True)
    Nothing.apply(cuts).sum().backward(retain_graph=True)
    assert all(each.grad is None for each in maps)
    cuts.sum().backward()
    assert maps[0].grad is not None
    assert maps[0].grad.sum() == pytest.approx(4 * 4)


@needs_kernels
def test_one_of_two_results_has_no_gradient() -> None:
    kv = torch.randn(1, 4, 4, 8, requires_grad=True)
    keys, values = halo.halo_tokens(kv, 2, 2, 1, 4)
    (of_keys,) = torch.autograd.grad(keys.sum(), kv, retain_graph=True)
    (of_both,) = torch.autograd.grad(keys.sum() + Nothing.apply(values).sum(), kv)
    assert of_keys.abs().sum() > 0
    torch.testing.assert_close(of_both, of_keys, rtol=0, atol=0)


def test_an_operator_runs_where_it_was_made_for_and_has_shapes_without_numbers() -> None:
    @operator("doubled_for_a_test", device="cpu")
    def doubled(x: torch.Tensor, times: int = 2) -> torch.Tensor:
        return x * times

    describe(doubled, shapes=lambda x, *_: x.new_empty(x.shape), gradient=lambda ctx, g: (2 * g, None))
    x = torch.ones(3, requires_grad=True)
    doubled(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]
    assert doubled(torch.ones(3, device="meta")).shape == (3,)
    torch.library.opcheck(doubled, (torch.ones(3, requires_grad=True),))
