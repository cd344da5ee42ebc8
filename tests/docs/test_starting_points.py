"""The pages on plug-ins say where to import from, and their first example works as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from stmbench.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    """A page's blocks of Python, in order."""
    return PYTHON.findall((DOCS / page).read_text(encoding="utf-8"))


def run(code: str) -> dict[str, Any]:
    """What a block defines."""
    namespace: dict[str, Any] = {"__name__": "documented"}
    exec(compile(code, "documented", "exec", dont_inherit=True), namespace)
    return namespace


def test_the_first_example_of_a_mixer_imports_what_its_page_uses() -> None:
    first, *rest = blocks("writing_a_mixer.md")
    defined = run(first)
    assert defined["StripConvConfig"](dim=8).kernel == 11
    with pytest.raises(ConfigError, match="an odd kernel"):
        defined["StripConvConfig"](dim=8, kernel=4)
    used = {name for name in ("register_mixer", "ZeroGradient") if any(f"{name}(" in block for block in rest)}
    assert used == {"register_mixer", "ZeroGradient"}
    assert used | {"BlockPosition", "Mixer", "Preset"} <= set(defined)


def test_the_names_of_an_analysis_are_where_its_page_says() -> None:
    defined = run(blocks("writing_an_analysis.md")[0])
    assert {"ImageAnalysis", "ImageOptions", "option", "AnalysisSpec", "Metric", "View", "require"} <= set(defined)
