"""Tests of the compiled kernels; those that run one are skipped where no compiler is."""

from __future__ import annotations

import pytest

from stmbench.kernels import library

needs_kernels = pytest.mark.skipif(library.load().functions is None, reason=library.load().reason or "none")
