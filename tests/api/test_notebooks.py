"""The notebooks in `examples/` run, and hold what they showed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.api.notebooks import outputs

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["quickstart", "your_own_mixer"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_as_much_as_it_holds(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|root|work|Users)/", text), "a path of somebody's machine"
    for cell, found in outputs(json.loads(text)):
        stored = [sorted(output.get("data", {"text": ""})) for output in cell["outputs"]]
        assert [sorted(output.get("data", {"text": ""})) for output in found] == stored, cell["source"]
