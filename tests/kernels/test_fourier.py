"""The kernels of Fourier transforms: PyTorch's numbers, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from stmbench.kernels import setting
from stmbench.kernels.fourier import from_spectrum, spectrum
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.ops import fourier
from tests.kernels import needs_kernels
from tests.kernels.test_depthwise import step

SHAPES = [  # every radix, and lengths with one and several of them, even and odd; vectors that are full and not
    (2, 7, 9, 5), (1, 1, 1, 3), (2, 2, 1, 17), (1, 1, 6, 16), (1, 56, 56, 42), (2, 13, 26, 20), (1, 30, 97, 16),
    (1, 8, 12, 33), (1, 11, 22, 8), (1, 25, 49, 3), (0, 4, 4, 8),
]  # fmt: skip


def given(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A map, and a spectrum in which nothing is anything's conjugate."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    s = torch.randn(*shape[:2], shape[2] // 2 + 1, shape[3], generator=generator, dtype=torch.complex128)
    return x.to(dtype).requires_grad_(), s.to(dtype.to_complex()).requires_grad_()


def theirs(x: Tensor) -> Tensor:
    found: Tensor = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
    return found


def back(s: Tensor, size: tuple[int, int]) -> Tensor:
    found: Tensor = torch.fft.irfft2(s, s=size, dim=(1, 2), norm="ortho")
    return found


def real_step(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return step(torch.view_as_real(y) if y.is_complex() else y, inputs)


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_transforms_and_gradients_are_pytorchs(shape: tuple[int, ...], dtype: torch.dtype, close: float) -> None:
    (x, s), size = given(shape, dtype), (shape[1], shape[2])
    if not shape[0]:  # which PyTorch refuses
        assert spectrum(x).shape == s.shape
        assert from_spectrum(s, size[1]).shape == x.shape
        return
    for ours, other in ((spectrum(x), theirs(x)), (from_spectrum(s, size[1]), back(s, size))):
        given_one = [x] if ours.is_complex() else [s]
        for one, another in zip(real_step(ours, given_one), real_step(other, given_one), strict=True):
            torch.testing.assert_close(one, another, rtol=close, atol=close * 10)


@needs_kernels
@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (1, 3, 5, 2)])
@pytest.mark.parametrize("flag", [False, True])
def test_derivatives_are_the_numerical_ones(shape: tuple[int, ...], flag: bool) -> None:
    x, s = given(shape)

    def twice(x: Tensor) -> Tensor:
        return from_spectrum(spectrum(x, flag) ** 2, shape[2], flag)

    assert torch.autograd.gradcheck(lambda x: spectrum(x, flag), (x,))
    assert torch.autograd.gradcheck(lambda s: from_spectrum(s, shape[2], flag), (s,))
    assert torch.autograd.gradgradcheck(twice, (x,))


@needs_kernels
def test_the_numbers_do_not_depend_on_threads_or_memory() -> None:
    x, s = given((3, 12, 10, 37), torch.float32)
    x, s = x.detach(), s.detach()
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found += [(spectrum(x), from_spectrum(s, 10))]
            found += [(spectrum(x.mT.contiguous().mT), from_spectrum(s.conj().resolve_conj().conj(), 10))]
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(one, another) for one, another in zip(found[0], other, strict=True))


@needs_kernels
def test_channels_do_not_meet() -> None:
    """A channel that is huge, or no number, leaves the digits of the others."""
    x, s = (tensor.detach() for tensor in given((2, 9, 10, 24), torch.float32))
    alone = spectrum(x), from_spectrum(s, 10)
    for value in (1e20, torch.inf, torch.nan):
        x[..., 3], s[..., 3] = value, value
        for one, other in zip(alone, (spectrum(x), from_spectrum(s, 10)), strict=True):
            others = torch.arange(24) != 3
            assert torch.equal(one[..., others], other[..., others])
            assert value == 1e20 or not other[..., 3].isfinite().all()


@needs_kernels
def test_pytorch_accepts_the_operators() -> None:
    x, s = given((2, 6, 5, 18), torch.float32)
    opcheck(spectrum, (x,))
    opcheck(spectrum, (x, True))
    opcheck(from_spectrum, (s, 5))
    opcheck(from_spectrum, (s, 5, True))


RUNS = ("global_filter", "afno", "gated_conv_gf")


@needs_kernels
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_mixers_are_the_same_without_kernels(
    name: str, dtype: torch.dtype, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    mixer = MIXERS.get(name).build(BlockPosition(stage=2, block=0, dim=64, resolution=(13, 14))).to(dtype)
    x = torch.randn(2, 13, 14, 64, dtype=dtype, requires_grad=True)
    found = []
    for choice in ("auto", "off"):
        monkeypatch.setenv("STMBENCH_KERNELS", choice)
        with setting.counted() as calls:
            found.append(step(mixer(x), [x, *mixer.parameters()]))
        there = {kernel: calls[kernel] for kernel in ("spectrum", "from_spectrum") if kernel in calls}
        assert there == ({"spectrum": 2, "from_spectrum": 2} if choice == "auto" else {})
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close * float(other.abs().max()))


@pytest.mark.parametrize("side", [5, 20, 40])
@pytest.mark.parametrize("choice", ["auto", "off"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_form_is_the_same_transform(
    side: int, choice: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By products, compiled, and PyTorch's."""
    monkeypatch.setenv("STMBENCH_KERNELS", choice)
    x = given((2, side, side - 1, 20))[0].detach().to(dtype)
    found = fourier.spectrum(x)
    torch.testing.assert_close(found, theirs(x.float()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fourier.from_spectrum(found, side - 1), x.float(), rtol=1e-4, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("operator", [spectrum, lambda x: from_spectrum(spectrum(x), 9)], ids=["there", "and back"])
def test_gradients_come_in_batches_too(operator: Callable[[Tensor], Tensor]) -> None:
    """As a Jacobian is computed."""
    x, _ = given((1, 10, 9, 3))
    y = operator(x)
    outputs = (torch.view_as_real(y) if y.is_complex() else y).flatten()[:5]
    eye = torch.eye(5, dtype=torch.float64)
    (rows,) = torch.autograd.grad(outputs, x, eye, is_grads_batched=True, retain_graph=True)
    for row, output in zip(rows, outputs, strict=True):
        torch.testing.assert_close(row, torch.autograd.grad(output, x, retain_graph=True)[0])
