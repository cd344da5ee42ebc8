"""Depthwise convolutions of large kernels, against PyTorch's: forward, gradients, and the forms of use."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.mixers.ops import depthwise
from stmbench.mixers.ops.depthwise import depthwise_conv
from tests.kernels import needs_kernels

# (B, H, W, C), K, dilation: larger and smaller than the map, below the smallest that is done by Fourier transforms
CASES = [
    ((2, 9, 14, 6), 7, 1),
    ((2, 9, 14, 6), 5, 1),
    ((1, 5, 20, 3), 13, 1),
    ((2, 4, 3, 5), 31, 1),
    ((1, 1, 1, 2), 9, 1),
    ((2, 6, 7, 4), 3, 1),
    ((2, 6, 9, 4), 3, 4),
    ((1, 13, 8, 2), 7, 2),
    ((2, 6, 9, 4), 3, 6),
    ((1, 13, 9, 2), 5, 4),
]


@pytest.fixture(autouse=True, params=[pytest.param("auto", marks=needs_kernels), "off"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled or not; small maps are not left to PyTorch."""
    monkeypatch.setenv("STMBENCH_KERNELS", request.param)
    monkeypatch.setattr(depthwise, "WORTHWHILE", 0)


LIMITS = {torch.float64: 1e-13, torch.float32: 2e-6}


def _inputs(shape: tuple[int, ...], side: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (shape, (shape[3], 1, side, side), (shape[3],))
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for size in sizes]


def _torchs(x: Tensor, kernel: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Tensor:
    padding, groups = dilation * (kernel.shape[2] // 2), len(kernel)
    y = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=padding, dilation=dilation, groups=groups)
    return y.permute(0, 2, 3, 1)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(("shape", "side", "dilation"), CASES)
def test_forward_and_gradients_are_pytorchs(
    shape: tuple[int, ...], side: int, dilation: int, dtype: torch.dtype
) -> None:
    results = []
    for function in (depthwise_conv, _torchs):
        inputs = _inputs(shape, side, dtype if function is depthwise_conv else torch.float64)
        y = function(*inputs, dilation)
        y.sin().sum().backward()
        results.append([y.detach(), *(tensor.grad for tensor in inputs)])
        with torch.no_grad():
            results[-1].append(function(*inputs, dilation))
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None
        assert theirs is not None
        assert ours.dtype == dtype
        assert float((ours - theirs).abs().max()) <= LIMITS[dtype] * float(theirs.abs().max())


@pytest.mark.parametrize(("side", "dilation"), [(13, 1), (5, 1), (3, 2)])
def test_gradients_have_gradients_of_their_own(side: int, dilation: int) -> None:
    inputs = _inputs((1, 3, 4, 2), side, torch.float64)
    assert torch.autograd.gradgradcheck(lambda *tensors: depthwise_conv(*tensors, dilation), inputs)


def test_bfloat16_and_autocast_keep_the_dtype_that_a_convolution_has() -> None:
    inputs = _inputs((2, 9, 8, 4), 13, torch.float32)
    low = [tensor.detach().bfloat16().requires_grad_() for tensor in inputs]
    y = depthwise_conv(*low)
    y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert low[1].grad is not None
    assert low[1].grad.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = depthwise_conv(*inputs)
        assert y.dtype == _torchs(*inputs).dtype == torch.bfloat16
    y.sum().backward()
    assert inputs[1].grad is not None
    assert inputs[1].grad.dtype == torch.float32


def test_a_gradient_per_image_can_be_had_from_vmap() -> None:
    x, kernel, bias = (tensor.detach() for tensor in _inputs((3, 5, 6, 2), 13, torch.float64))

    def loss(kernel: Tensor, image: Tensor) -> Tensor:
        return depthwise_conv(image[None], kernel, bias).sin().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(kernel, x)
    assert torch.allclose(each.sum(0), torch.func.grad(lambda k: depthwise_conv(x, k, bias).sin().sum())(kernel))


def test_it_compiles_to_one_graph_with_its_gradient() -> None:
    x, kernel, bias = _inputs((2, 9, 8, 4), 7, torch.float32)
    compiled = torch.compile(depthwise_conv, fullgraph=True, backend="aot_eager")
    (ours,) = torch.autograd.grad(compiled(x, kernel, bias).sin().sum(), kernel)
    (theirs,) = torch.autograd.grad(_torchs(x, kernel, bias).sin().sum(), kernel)
    assert torch.allclose(ours, theirs, atol=1e-4)
