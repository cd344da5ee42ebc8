"""The norm of many tensors together, by the kernel and without it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from stmbench.kernels.norm import norm
from tests.kernels import needs_kernels

KINDS = [pytest.param("auto", marks=needs_kernels), "off"]


def tensors(dtype: torch.dtype) -> list[Tensor]:
    """A number, a vector, more than one piece, nothing, and a map whose channels come last."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((), (7,), (3, 4_321), (0, 5))
    made = [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes]
    image = torch.randn(2, 5, 6, 7, generator=generator, dtype=torch.float64).to(dtype)
    return [*made, image.to(memory_format=torch.channels_last), image[:, :, ::2, 1:]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_it_is_that_of_all_numbers(
    kind: str, dtype: torch.dtype, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, kind)
    expected = float(torch.cat([tensor.double().flatten() for tensor in tensors(dtype)]).norm())
    with setting.counted() as calls:
        assert norm(tensors(dtype)) == pytest.approx(expected, rel=within)
    assert calls["norm"] == int(kind == "auto" and dtype != torch.bfloat16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_noticed(kind: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, kind)
    given = tensors(torch.float32)
    given[2][1, 4_200] = value
    assert not math.isfinite(norm(given))


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_two_dtypes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, kind)
    assert norm([torch.full((3,), 2.0), torch.full((4,), 1.0, dtype=torch.float64)]) == pytest.approx(4)
