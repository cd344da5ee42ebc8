"""The kernels for CUDA, in Triton's interpreter on a CPU: the numbers of the plain forms and of autograd."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys

import pytest

# Triton decides at its import whether it interprets, so this runs in a process of its own
PROGRAM = """
import itertools
import torch
from stmbench.kernels import triton_sums
from stmbench.mixers.ops.bilinear import deformed_positions, grid_sums
from stmbench.mixers.ops.neighbourhood_sums import contracted_sums

torch.manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def compare(ours, backward, plain, given, arguments):
    y = plain(*given)
    gradient = torch.randn_like(y)
    torch.testing.assert_close(ours(*given, *arguments), y, rtol=1e-11, atol=1e-11)
    expected = torch.autograd.grad(y, given, gradient)
    for one, other in zip(backward(*given, *arguments, gradient), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


grid = torch.tensor([[-1.0, 0.0], [0.5, 0.25], [2.0, -1.5]], dtype=torch.float64)
for softmax, (groups, dim) in itertools.product((False, True), ((2, 10),)):
    def plain(value, offsets, weights):
        shares = weights.softmax(-1) if softmax else weights
        return grid_sums(value, deformed_positions(offsets, grid, 0.7), shares)

    given = draw(1, 4, 5, dim), draw(1, 4, 5, groups, 3, 2), draw(1, 4, 5, groups, 3)
    compare(
        triton_sums.deformable_sums, triton_sums.deformable_sums_backward, plain, given, (grid, 0.7, softmax)
    )

for interleaved, side, (groups, halves, dim) in itertools.product(
    (False, True), (3,), ((4, 2, 24),)
):
    def plain(values, weights):
        return contracted_sums(values, weights.permute(4, 0, 1, 2, 3), side, halves if interleaved else groups)

    def ours(values, weights):
        return triton_sums.neighbourhood_sums(values, weights, side, halves, interleaved=interleaved)

    def backward(values, weights, gradient):
        return triton_sums.neighbourhood_sums_backward(
            values, weights, side, halves, gradient, interleaved=interleaved
        )

    compare(ours, backward, plain, (draw(2, 3, 5, dim), draw(2, 3, 5, groups, side**2)), ())

value, offsets, weights = torch.ones(1, 4, 4, 2), torch.zeros(1, 4, 4, 1, 3, 2), torch.ones(1, 4, 4, 1, 3)
offsets[0, 2, 1, 0, 1, 0] = torch.nan
y = triton_sums.deformable_sums(value, offsets, weights, torch.zeros(3, 2), 1.0, False)
assert y[0, 2, 1].isnan().all() and y.isnan().sum() == 2, y
assert triton_sums.deformable_sums(value[:0], offsets[:0], weights[:0], torch.zeros(3, 2), 1.0, False).numel() == 0
print("equal")
"""


def _triton() -> tuple[int, ...]:
    """Its version; () where it is not installed."""
    if importlib.util.find_spec("triton") is None:
        return ()
    return tuple(map(int, importlib.metadata.version("triton").split(".")[:2]))


@pytest.mark.skipif(
    _triton() < (3, 2), reason="no Triton, or one whose interpreter refuses constants that kernels compute"
)
def test_sums_and_gradients_are_the_plain_ones() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "STMBENCH_KERNELS": "off"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.stdout.strip() == "equal", ran.stderr[-2000:]
