"""The kernel of convolutions of several shapes: PyTorch's numbers, numerical derivatives, PyTorch's checks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import opcheck

from stmbench.kernels import setting
from stmbench.kernels.branches import branches, branches_of_taps
from stmbench.mixers.inception_dw_conv import InceptionDwConv, InceptionDwConvConfig
from tests.kernels import needs_kernels
from tests.kernels.test_depthwise import step

Parts = list[tuple[int, int, int]]
CROSS: Parts = [(5, 3, 3), (5, 1, 11), (5, 11, 1)]
CASES: dict[str, tuple[tuple[int, ...], Parts]] = {  # x (B, H, W, C), (channels, down, across)
    "all channels of a vector": ((2, 13, 16, 44), CROSS),
    "fewer channels than a vector": ((3, 6, 7, 5), [(1, 3, 3), (2, 1, 5)]),
    "no channel is left": ((2, 5, 9, 21), [(4, 3, 1), (17, 5, 5)]),
    "many vectors": ((2, 6, 5, 100), [(40, 3, 3), (30, 1, 7), (3, 5, 1)]),
    "several bands of rows": ((1, 150, 70, 20), CROSS),
    "larger than the map": ((2, 2, 1, 18), [(6, 7, 7), (6, 1, 11), (6, 11, 1)]),
    "many images": ((11, 3, 3, 40), [(9, 3, 3), (8, 1, 3), (7, 3, 1)]),
    "no images": ((0, 4, 4, 16), CROSS),
}


def shapes_of(parts: Parts) -> list[int]:
    return [size for part in parts for size in part]


def given(shape: tuple[int, ...], parts: Parts, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = sum(channels * down * across for channels, down, across in parts)
    sizes = (shape, (weights,), (sum(channels for channels, *_ in parts),))
    tensors = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def plain(x: Tensor, taps: Tensor, bias: Tensor, parts: Parts) -> Tensor:
    """Each branch by PyTorch's convolution."""
    image, weights = x.permute(0, 3, 1, 2), taps
    left = image.shape[1] - sum(channels for channels, *_ in parts)
    found, at = [image[:, :left]], left
    for channels, down, across in parts:
        kernel, weights = weights[: channels * down * across], weights[channels * down * across :]
        own, bias = bias[:channels], bias[channels:]
        padding = (down // 2, across // 2)
        kernel = kernel.view(channels, 1, down, across)
        found.append(F.conv2d(image[:, at : at + channels], kernel, own, padding=padding, groups=channels))
        at += channels
    return torch.cat(found, dim=1).permute(0, 2, 3, 1)


@needs_kernels
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-11), (torch.float32, 1e-3)])
def test_outputs_and_gradients_are_pytorchs(case: str, dtype: torch.dtype, close: float) -> None:
    shape, parts = CASES[case]
    inputs = given(shape, parts, dtype)
    theirs = step(plain(*inputs, parts), inputs)
    ours = step(branches(*inputs, shapes_of(parts)), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close)


@needs_kernels
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_reaches_as_far_as_a_channels_own_kernel(value: float) -> None:
    inputs = [tensor.detach() for tensor in given((2, 9, 30, 44), CROSS)]
    inputs[0][0, 4, 13] = value
    ours, theirs = branches(*inputs, shapes_of(CROSS)), plain(*inputs, CROSS)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11, equal_nan=True)
    assert int(ours.isfinite().logical_not().sum()) == 29 + 5 * (
        9 + 9 + 11
    )  # the column leaves the map by one on each side


@needs_kernels
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_derivatives_are_the_numerical_ones(turned: bool, kept: bool) -> None:
    parts = [(2, 3, 3), (1, 1, 5), (1, 3, 1)]
    inputs, shapes = given((2, 3, 4, 5), parts), shapes_of(parts)
    assert torch.autograd.gradcheck(lambda *inputs: branches(*inputs, shapes, turned, kept), inputs)
    assert torch.autograd.gradgradcheck(lambda *inputs: branches(*inputs, shapes, turned, kept), inputs)
    both = [inputs[0].detach().flip(1).requires_grad_(), inputs[0]]
    assert torch.autograd.gradcheck(lambda *both: branches_of_taps(*both, shapes), both)


@needs_kernels
def test_the_numbers_do_not_depend_on_threads_or_memory() -> None:
    x, taps, bias = given((5, 19, 16, 44), CROSS, torch.float32)
    wide = torch.zeros(5, 19, 16, 60).index_copy(3, torch.arange(9, 53), x.detach())
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for same in (x.detach(), wide[..., 9:53], x.detach().transpose(1, 2).contiguous().transpose(1, 2)):
                inputs = [same.requires_grad_(), taps]
                found.append(step(branches(*inputs, bias, shapes_of(CROSS)), inputs))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(one, another) for one, another in zip(found[0], other, strict=True))


@needs_kernels
def test_pytorch_accepts_the_operators() -> None:
    inputs, shapes = given((2, 5, 4, 18), CROSS, torch.float32), shapes_of(CROSS)
    opcheck(branches, (*inputs, shapes))
    opcheck(branches, (*inputs[:2], None, shapes, True, False))
    opcheck(branches_of_taps, (inputs[0].detach().flip(1).requires_grad_(), inputs[0], shapes))


@needs_kernels
@pytest.mark.parametrize("dim", [16, 44, 64])
@pytest.mark.parametrize(
    ("dtype", "close", "runs"), [(torch.float64, 1e-10, True), (torch.float32, 1e-3, True), (torch.bfloat16, 0, False)]
)
def test_the_mixer_is_the_same_without_kernels(
    dim: int, dtype: torch.dtype, close: float, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer = InceptionDwConv(InceptionDwConvConfig(dim=dim)).to(dtype)
    x = torch.randn(2, 9, 12, dim, dtype=dtype, requires_grad=True)
    found = []
    for choice in ("auto", "off"):
        monkeypatch.setenv("STMBENCH_KERNELS", choice)
        with setting.counted() as calls:
            found.append(step(mixer(x), [x, *mixer.parameters()]))
        assert dict(calls) == ({"branches": 2, "branches_of_taps": 1} if runs and choice == "auto" else {})
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close)


@needs_kernels
def test_autocast_gives_what_it_gives_without(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = InceptionDwConv(InceptionDwConvConfig(dim=44)), torch.randn(2, 9, 12, 44)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mixer(x)
        monkeypatch.setenv("STMBENCH_KERNELS", "off")
        assert torch.equal(y, mixer(x))
