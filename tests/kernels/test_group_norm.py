"""GroupNorm's kernel: PyTorch's numbers, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.library import opcheck
from torchvision.ops import Conv2dNormActivation

from stmbench.architectures.detectors.pyramid import group_norm as make
from stmbench.architectures.detectors.pyramid import norms_with_relu
from stmbench.kernels import setting
from stmbench.kernels.group_norm import group_norm
from tests.kernels import needs_kernels


def given(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(size, generator=generator, dtype=torch.float64) for size in (shape, shape[1], shape[1])]
    tensors[0] = 2 * tensors[0] + 30  # a mean that squares would drown in
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def step(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), inputs)]


@needs_kernels
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((3, 12, 5, 4), 3), ((2, 32, 7, 7), 8), ((1, 40, 1, 2), 10), ((2, 3, 4, 4), 1), ((0, 8, 7, 7), 2)],
)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_outputs_and_gradients_are_pytorchs(
    shape: tuple[int, ...], groups: int, relu: bool, dtype: torch.dtype, close: float
) -> None:
    x, weight, bias = inputs = given(shape, dtype)
    plain = F.group_norm(x, groups, weight, bias, 1e-5)
    theirs = step(plain.relu() if relu else plain, inputs)
    for laid in (x, x.to(memory_format=torch.channels_last)):
        ours = step(group_norm(laid, weight, bias, groups, 1e-5, relu)[0], inputs)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=close, atol=close)


@needs_kernels
def test_numbers_that_are_none_spoil_their_group_alone() -> None:
    x, weight, bias = given((2, 8, 3, 3), torch.float32)
    spoilt = x.detach().clone()
    spoilt[1, 5, 0, 0] = torch.nan
    y = group_norm(spoilt, weight, bias, 2, 1e-5, True)[0]
    assert y[1, 4:].isnan().all()
    assert not y[0].isnan().any()
    assert not y[1, :4].isnan().any()


@needs_kernels
@pytest.mark.parametrize("relu", [False, True])
def test_derivatives_are_the_numerical_ones(relu: bool) -> None:
    inputs = given((2, 6, 2, 3))
    assert torch.autograd.gradcheck(lambda *inputs: group_norm(*inputs, 2, 1e-5, relu)[0], inputs)


@needs_kernels
def test_pytorch_accepts_the_operator() -> None:
    opcheck(group_norm, (*given((2, 8, 3, 2), torch.float32), 2, 1e-5, True))


@pytest.mark.parametrize("kernels", [pytest.param("auto", marks=needs_kernels), "off"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_with_the_relu_in_it_is_the_layers_apart(
    kernels: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", kernels)
    layers = Conv2dNormActivation(8, 8, norm_layer=make).to(dtype)
    x = torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    plain = F.group_norm(layers[0](x), 2, layers[1].weight, layers[1].bias, layers[1].eps).relu()
    names = list(layers.state_dict())
    norms_with_relu(nn.Sequential(layers))
    with setting.counted() as calls:
        torch.testing.assert_close(layers(x), plain)
    assert calls == ({"group_norm": 1} if kernels == "auto" and dtype == torch.float32 else {})
    assert list(layers.state_dict()) == names
    assert isinstance(layers[2], nn.Identity)
