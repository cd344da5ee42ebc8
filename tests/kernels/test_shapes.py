"""Operators given what does not fit: an error, where the compiled code would read what lies behind a tensor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stmbench.kernels.branches import branches
from stmbench.kernels.depthwise import depthwise, depthwise_of_kernel
from stmbench.kernels.fourier import from_spectrum
from stmbench.kernels.group_norm import group_norm
from stmbench.kernels.halo import halo_tokens
from stmbench.kernels.halo_attention import halo_attention
from stmbench.kernels.roi_align import roi_align
from stmbench.kernels.softmax import biased_softmax, relative_softmax
from stmbench.kernels.sums import deformable_sums, grouped_sums, interleaved_sums
from tests.kernels import needs_kernels

z = torch.zeros  # of so many numbers each way
MAP = z(2, 4, 4, 12)
CASES: dict[str, Callable[[], Tensor]] = {
    "offsets of a smaller map": lambda: deformable_sums(MAP, z(2, 4, 3, 3, 9, 2), z(2, 4, 4, 3, 9), z(9, 2), 1.0, True),
    "offsets of one group": lambda: deformable_sums(MAP, z(2, 4, 4, 1, 9, 2), z(2, 4, 4, 3, 9), z(9, 2), 1.0, True),
    "weights of a smaller map": lambda: deformable_sums(MAP, z(2, 4, 4, 3, 9, 2), z(1, 4, 4, 3, 9), z(9, 2), 1.0, True),
    "a grid of one point": lambda: deformable_sums(MAP, z(2, 4, 4, 3, 9, 2), z(2, 4, 4, 3, 9), z(2), 1.0, True),
    "five groups": lambda: deformable_sums(MAP, z(2, 4, 4, 5, 9, 2), z(2, 4, 4, 5, 9), z(9, 2), 1.0, True),
    "weights of four taps": lambda: grouped_sums(MAP, z(2, 4, 4, 3, 4), 3),
    "weights of other images": lambda: grouped_sums(MAP, z(1, 4, 4, 3, 9), 3),
    "an odd number of groups in halves": lambda: interleaved_sums(MAP, z(2, 4, 4, 3, 9), 3, 2),
    "half a window": lambda: halo_tokens(z(1, 6, 4, 8), 2, 4, 1, 6),
    "keys without values": lambda: halo_attention(z(1, 4, 4, 8), z(1, 4, 4, 8), z(11, 4), z(11, 4), 2, 4, 1, 6),
    "a short table": lambda: halo_attention(z(1, 4, 4, 8), z(1, 4, 4, 16), z(5, 4), z(11, 4), 2, 4, 1, 6),
    "queries of half a window": lambda: halo_attention(z(1, 6, 4, 8), z(1, 6, 4, 16), z(11, 4), z(11, 4), 2, 4, 1, 6),
    "kernels of fewer channels": lambda: depthwise(MAP, z(6, 1, 3, 3), None, 1, False),
    "one bias": lambda: depthwise(MAP, z(12, 1, 3, 3), z(1), 1, False),
    "a gradient of a smaller map": lambda: depthwise_of_kernel(z(2, 3, 4, 12), MAP, 3, 3, 1),
    "taps of fewer channels": lambda: branches(MAP, z(9), None, [4, 3, 3]),
    "branches of more channels": lambda: branches(MAP, z(14 * 9), None, [14, 3, 3]),
    "logits of other keys": lambda: relative_softmax(z(2, 5, 9), z(2, 5, 3), z(2, 5, 4), 1.0),
    "a bias of other keys": lambda: biased_softmax(z(2, 3, 4, 5), z(1, 3, 4, 4), 1.0),
    "a bias of other maps": lambda: biased_softmax(z(4, 3, 4, 5), z(2, 3, 4, 5), 1.0),
    "a spectrum of another width": lambda: from_spectrum(torch.zeros(1, 4, 3, 2, dtype=torch.complex64), 8),
    "weights of fewer channels": lambda: group_norm(z(2, 8, 3, 3), z(4), z(8), 2, 1e-5, False),
    "groups that do not divide": lambda: group_norm(z(2, 8, 3, 3), z(8), z(8), 3, 1e-5, False),
    "regions without images": lambda: roi_align([z(1, 3, 4, 4)], z(2, 4), z(2).long(), [1.0], 2, 2, 0, False),
}


@needs_kernels
@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match="expected a tensor of shape"):
        CASES[case]()


@needs_kernels
@pytest.mark.parametrize(("groups", "points"), [(3, 0), (0, 9)])
def test_sums_of_nothing_are_refused(groups: int, points: int) -> None:
    offsets, weights = z(2, 4, 4, groups, points, 2), z(2, 4, 4, groups, points)
    with pytest.raises((ValueError, ZeroDivisionError)):
        deformable_sums(MAP, offsets, weights, z(points, 2), 1.0, False)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes_that_differ_are_refused(dtype: torch.dtype) -> None:
    offsets, weights, grid = z(2, 4, 4, 3, 9, 2), z(2, 4, 4, 3, 9), z(9, 2)
    with pytest.raises(ValueError, match="expected float32 or float64 for all that the kernel deformable_sums takes"):
        deformable_sums(MAP, offsets, weights, grid.to(dtype), 1.0, True)
    with pytest.raises(ValueError, match="expected float32 or float64 for all"):
        grouped_sums(MAP.bfloat16(), z(2, 4, 4, 3, 9).bfloat16(), 3)
