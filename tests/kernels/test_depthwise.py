"""The depthwise convolution's kernel: PyTorch's numbers, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import opcheck

from stmbench.kernels import setting
from stmbench.kernels.depthwise import depthwise, depthwise_of_kernel
from stmbench.mixers.ops import depthwise as ops
from stmbench.mixers.ops.depthwise import depthwise_conv
from tests.kernels import needs_kernels

CASES = {  # x (B, H, W, C), kernel (down, across), dilation
    "square": ((3, 14, 9, 20), (5, 5), 1),
    "row": ((2, 6, 17, 33), (1, 11), 1),
    "column": ((2, 13, 7, 24), (11, 1), 1),
    "larger than the map": ((1, 5, 6, 3), (31, 31), 1),
    "dilated": ((1, 9, 12, 8), (3, 3), 3),
    "one pixel": ((2, 1, 1, 5), (3, 3), 1),
    "many images": ((11, 3, 3, 40), (3, 3), 1),
    "several bands of rows": ((1, 150, 200, 17), (7, 7), 2),
    "no images": ((0, 4, 4, 8), (3, 3), 1),
}


def given(shape: tuple[int, ...], sides: tuple[int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (shape, (shape[3], 1, *sides), (shape[3],))
    tensors = [torch.randn(size, generator=generator, dtype=torch.float64) for size in shapes]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def plain(x: Tensor, kernel: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    padding = [dilation * (side // 2) for side in kernel.shape[2:]]
    image = x.permute(0, 3, 1, 2)
    return F.conv2d(image, kernel, bias, padding=padding, dilation=dilation, groups=len(kernel)).permute(0, 2, 3, 1)


def step(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), inputs)]


@needs_kernels
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-11), (torch.float32, 1e-3)])
def test_outputs_and_gradients_are_pytorchs(case: str, dtype: torch.dtype, close: float) -> None:
    shape, sides, dilation = CASES[case]
    inputs = given(shape, sides, dtype)
    theirs = step(plain(*inputs, dilation), inputs)
    ours = step(depthwise(*inputs, dilation, False), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close)


@needs_kernels
def test_some_of_more_channels_are_read_where_they_are() -> None:
    x, kernel, bias = given((2, 7, 6, 40), (3, 5))
    part, own = x[..., 9:29], [kernel[:20].detach().requires_grad_(), bias[:20].detach().requires_grad_()]
    ours = step(depthwise(part, *own, 1, False), [x, *own])
    theirs = step(plain(part, *own, 1), [x, *own])
    turned = step(depthwise(x.transpose(1, 2), kernel.transpose(2, 3), bias, 1, False).transpose(1, 2), [x, kernel])
    for one, other in zip([*ours, *turned], [*theirs, *step(plain(x, kernel, bias, 1), [x, kernel])], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@needs_kernels
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("sides", "dilation"), [((3, 3), 1), ((1, 5), 1), ((3, 3), 2)])
def test_derivatives_are_the_numerical_ones(sides: tuple[int, int], dilation: int, turned: bool) -> None:
    inputs = given((2, 3, 4, 2), sides)
    assert torch.autograd.gradcheck(lambda *inputs: depthwise(*inputs, dilation, turned), inputs)
    assert torch.autograd.gradgradcheck(lambda *inputs: depthwise(*inputs, dilation, turned), inputs)
    gradient, x = given((2, 3, 4, 2), sides)[0], inputs[0]
    assert torch.autograd.gradcheck(lambda *both: depthwise_of_kernel(*both, *sides, dilation), [gradient, x])


@needs_kernels
def test_the_numbers_do_not_depend_on_threads() -> None:
    inputs = given((5, 19, 16, 37), (7, 7), torch.float32)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(step(depthwise(*inputs, 1, False), inputs))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        # the bias is PyTorch's own sum
        assert all(torch.equal(one, another) for one, another in zip(found[0][:3], other[:3], strict=True))


@needs_kernels
def test_pytorch_accepts_the_operators() -> None:
    inputs = given((2, 5, 4, 18), (3, 3), torch.float32)
    opcheck(depthwise, (*inputs, 1, False))
    opcheck(depthwise, (*inputs[:2], None, 1, True))
    opcheck(depthwise_of_kernel, (inputs[0].detach().flip(1).requires_grad_(), inputs[0], 3, 3, 1))


ALL = {"depthwise": 2, "depthwise_of_kernel": 1}
CALLED = {  # images, side, dilation, dtype -> calls of kernels in a training step: where PyTorch's own are slower
    (8, 3, 1, torch.float32): {},
    (8, 5, 1, torch.float32): {"depthwise_of_kernel": 1},
    (1, 5, 1, torch.float32): {},
    (8, 7, 1, torch.float32): {"depthwise_of_kernel": 1},
    (1, 13, 1, torch.float32): ALL,
    (1, 5, 2, torch.float32): ALL,
    (8, 7, 1, torch.float64): ALL,
    (8, 7, 1, torch.bfloat16): {},
}


@needs_kernels
@pytest.mark.parametrize(("map_side", "side", "dilation"), [(15, 5, 2), (7, 3, 4), (7, 13, 1), (15, 13, 1)])
def test_wide_vectors_leave_dilated_kernels_and_small_maps_to_pytorch(
    map_side: int, side: int, dilation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", "auto")
    inputs, found, kernels = given((2, map_side, map_side, 24), (side, side), torch.float32), [], []
    for has_avx512 in (True, False):
        monkeypatch.setattr(ops, "HAS_AVX512", has_avx512)
        with torch.no_grad(), setting.counted() as calls:
            found.append(depthwise_conv(*inputs, dilation))
        kernels.append(calls["depthwise"])
    assert kernels == [int((map_side, dilation) == (15, 1)), 1]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize(("images", "side", "dilation", "dtype"), CALLED)
def test_a_mixers_convolution_is_the_same_without_kernels(
    images: int, side: int, dilation: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "HAS_AVX512", False)
    close = {torch.float64: 1e-10, torch.float32: 1e-3, torch.bfloat16: 0.3}[dtype]
    found = []
    for choice in ("auto", "off"):
        monkeypatch.setenv("STMBENCH_KERNELS", choice)
        inputs = given((images, 15, 14, 24), (side, side), dtype)
        with setting.counted() as calls:
            found.append(step(depthwise_conv(*inputs, dilation), inputs))
        assert dict(calls) == (CALLED[images, side, dilation, dtype] if choice == "auto" else {})
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close)


@needs_kernels
def test_a_mixers_convolution_has_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "WORTHWHILE", 0)
    inputs = given((1, 4, 5, 2), (5, 5))
    assert torch.autograd.gradgradcheck(depthwise_conv, inputs)
