"""Tests of the compiled kernels; those that run one are skipped without a compiler, and where kernels are off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stmbench.kernels import library, setting

needs_kernels = pytest.mark.skipif(not setting.are_ready(), reason=library.load().reason or "they are off")


def require_same_with_threads(
    module: Callable[[Tensor], Tensor], x: Tensor, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many threads give what the plain form gives."""
    monkeypatch.setenv(library.VARIABLE, "off")
    expected = module(x)
    monkeypatch.delenv(library.VARIABLE)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def require_same_by_default_dtype(module: Callable[[Tensor], Tensor], x: Tensor, expected: Tensor) -> None:
    """Another default dtype changes nothing."""
    torch.set_default_dtype(torch.float64)
    try:
        found = module(x)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
