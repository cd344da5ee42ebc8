"""The files as a user runs them: every plan can be shown, and miniatures of each kind run to their reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stmbench.data import embedded
from stmbench.experiments import estimating
from stmbench.tables import read
from stmbench.tasks.classification import data as training_data
from tests.analyses.profiles import memory
from tests.commands.run import stmbench

__all__ = ["memory"]

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ENOUGH = 800  # digits: a tenth of those to train on is still one step
# what is run here, and the analyses that it has to leave in the table
MINIATURES = {
    "quickstart": {
        *("train", "eval", "profile", "erf", "robustness", "affinity"),
        *("invariance_translation", "invariance_rotation", "invariance_scale"),
    },
    "cot_table5": {"train", "eval", "profile"},
    "detection_quickstart": {"train", "detection", "box_consistency_scale", "erf"},
}


@pytest.fixture
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real files on the first digits alone: what is tested is that they run, not what they find."""
    pixels, labels = embedded._digits()
    training_data._listed.cache_clear()
    monkeypatch.setattr(embedded, "_digits", lambda: (pixels[:ENOUGH], labels[:ENOUGH]))
    yield
    training_data._listed.cache_clear()


@pytest.mark.parametrize("mini", [False, True], ids=["whole", "mini"])
@pytest.mark.parametrize("name", FILES)
def test_every_plan_can_be_shown(name: str, mini: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "_measured", lambda *_: 100.0)
    folder = tmp_path / "store"
    words = ["run", str(FOLDER / f"{name}.yaml"), "--dry-run", "--device", "cpu", "--out", str(folder)]
    result = stmbench(*words, *(["--mini"] if mini else []))
    assert result.exit_code == 0, result.output
    assert "to do" in result.stdout
    assert ("(miniature)" in result.stdout) == mini
    needs_data = not mini and any(name_of_set in _everything(name) for name_of_set in ("imagenet", "set: coco"))
    assert ("missing: " in result.stdout) == (needs_data or _wants_gpu(name, mini))
    assert not folder.exists()


@pytest.mark.parametrize("name", MINIATURES)
@pytest.mark.usefixtures("_few_digits", "memory")
def test_a_miniature_runs_to_its_report(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    result = stmbench("run", str(FOLDER / f"{name}.yaml"), "--mini", "--workers", "1", "--out", str(folder))
    assert result.exit_code == 0, result.output
    frame = read(folder)
    assert set(frame["analysis"]) == MINIATURES[name]
    assert set(frame["status"]) <= {"ok", "imprecise", "skipped"}, frame.loc[frame["status"] == "failed", "reason"]
    assert "a miniature of " in result.stderr
    assert "(miniature)" in (folder / "report.html").read_text(encoding="utf-8")


def _everything(name: str) -> str:
    """The text of a file and of what it includes."""
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    parts = [path.read_text(encoding="utf-8") for path in (FOLDER / "common").glob("*.yaml") if path.name in text]
    return "\n".join([text, *parts])


def _wants_gpu(name: str, mini: bool) -> bool:
    return not mini and "device: cuda" in _everything(name)
