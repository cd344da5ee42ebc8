"""Tests of the compiled kernels; those that run one are skipped without a compiler, and where kernels are off."""

from __future__ import annotations

import pytest

from stmbench.kernels import library, setting

needs_kernels = pytest.mark.skipif(not setting.are_ready(), reason=library.load().reason or "they are off")
