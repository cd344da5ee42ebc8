"""Fixtures of all tests: what one test registers is gone for the next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.s3_server import bucket, machine, server  # noqa: F401  fixtures

os.environ["STMBENCH_REMEMBER"] = "off"  # plans of tests leave the user's alone, and find out everything anew


@pytest.fixture(autouse=True)
def _registry_as_it_was() -> Iterator[None]:
    """Forget mixers and plug-ins that a test brought in. Light tests pay nothing: torch is not imported for this."""
    base = sys.modules.get("stmbench.mixers.base")
    before = set(base.MIXERS) if base else None
    yield
    plugins = sys.modules.get("stmbench.plugins")
    if plugins is not None:
        plugins.unload_plugins()
    base = sys.modules.get("stmbench.mixers.base")
    if base is not None:
        known = before if before is not None else set(sys.modules["stmbench.mixers"].BUILTIN)
        for name in set(base.MIXERS) - known:
            base.MIXERS.unregister(name)
