"""Compiling a mixer takes seconds: such tests are `slow`."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and ("one_graph" in item.name or "compiled" in item.name):
            item.add_marker(pytest.mark.slow)
