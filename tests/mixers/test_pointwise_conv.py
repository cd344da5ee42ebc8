"""1 x 1 convolutions as products of matrices: the numbers and gradients of PyTorch's convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stmbench.mixers.ops.contextual import PointwiseConv


@pytest.mark.parametrize(("groups", "bias"), [(1, True), (1, False), (2, False)])
@pytest.mark.parametrize("size", [(2, 4, 5), (1, 1, 1), (3, 1, 7)])
def test_it_is_the_convolution(groups: int, bias: bool, size: tuple[int, int, int]) -> None:
    batch, height, width = size
    torch.manual_seed(0)
    layer = PointwiseConv(6, 10, groups=groups, bias=bias).double()
    plain = nn.Conv2d(6, 10, 1, groups=groups, bias=bias).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(batch, height, width, 6, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    ours, theirs = layer(x), plain(x)
    torch.testing.assert_close(ours, theirs)
    assert ours.permute(0, 2, 3, 1).is_contiguous()
    found = torch.autograd.grad(ours.sin().sum(), [x, *layer.parameters()])
    expected = torch.autograd.grad(theirs.sin().sum(), [x, *plain.parameters()])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_was_changed_is_a_convolution() -> None:
    layer, x = PointwiseConv(3, 4), torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(layer(x[0]), layer(x)[0])  # without a batch
    layer.stride = (2, 2)
    assert layer(x).shape == (2, 4, 3, 3)
    vars(layer)["_conv_forward"] = lambda x, *_: x
    assert layer(x) is x
