"""The local aggregation without unfolding, against the unfolded one, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stmbench.mixers.ops.neighbourhood_sums import contracted_sums, local_sums

CASES = [((2, 7, 9, 32), 4, 1, 3), ((1, 5, 5, 32), 4, 2, 3), ((3, 1, 4, 16), 2, 1, 3), ((1, 6, 8, 8), 8, 1, 5)]


@pytest.mark.parametrize(("shape", "groups", "halves", "side"), CASES)
def test_both_forms_agree_with_their_gradients(shape: tuple[int, ...], groups: int, halves: int, side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(*shape, generator=generator, dtype=torch.float64)
    taps = torch.randn(side**2, *shape[:3], groups, generator=generator, dtype=torch.float64)
    outputs, gradients = [], []
    for form in (local_sums, contracted_sums):
        inputs = [values.clone().requires_grad_(), taps.clone().requires_grad_()]
        outputs.append(form(*inputs, side, halves))
        outputs[-1].sin().sum().backward()
        gradients.append([tensor.grad for tensor in inputs])
    assert torch.allclose(outputs[0], outputs[1])
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


def test_shared_weights_equal_a_depthwise_convolution() -> None:
    values, kernel = torch.randn(2, 6, 5, 12, dtype=torch.float64), torch.randn(12, 1, 3, 3, dtype=torch.float64)
    taps = kernel.flatten(1).T[:, None, None, None].expand(9, 2, 6, 5, 12)
    expected = F.conv2d(values.permute(0, 3, 1, 2), kernel, padding=1, groups=12).permute(0, 2, 3, 1)
    assert torch.allclose(local_sums(values, taps, 3), expected)
