"""Operators in Python: no compiler until something is compiled, and no silent second derivative."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from stmbench.kernels import branches, depthwise, fourier, group_norm, halo, halo_attention, roi_align, softmax, sums
from stmbench.kernels.operators import describe, operator
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
