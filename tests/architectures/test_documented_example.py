"""The worked example of docs/architectures.md makes an architecture that works."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stmbench.architectures.base import ARCHITECTURES
from stmbench.architectures.catalog import list_models
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, SCALES

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"


@pytest.fixture
def pyramid(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the documented architecture, registered."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "Pyramid" in block]
    module = types.ModuleType("pyramid")
    monkeypatch.setitem(sys.modules, "pyramid", module)  # dataclasses look their module up
    try:
        exec(code, module.__dict__)
        yield "pyramid"
    finally:
        ARCHITECTURES.unregister("pyramid")


def test_the_documented_architecture_works(pyramid: str) -> None:
    assert len(list_models(f"{pyramid}_*")) == len(MIXERS) * len(SCALES)
    entry = ARCHITECTURES.get(pyramid)
    for mixer in entry.mixers:
        model = entry.build(MIXERS.get(mixer), "nano", num_classes=5, depths=(1, 1, 1, 1)).eval()
        with torch.inference_mode():
            assert model(torch.randn(1, 3, 64, 96)).shape == (1, 5)
        formulas, counts = model.macs(64, 96), count(model, (3, 64, 96), parts=model.parts)
        assert {part: counts.parts[part].macs for part in formulas} == formulas
        assert sum(counts.parts[part].params for part in formulas) == counts.params
