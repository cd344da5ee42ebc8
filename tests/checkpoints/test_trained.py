"""Weights found by the name of their model, in a store of trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.checkpoints.trained import trained_checkpoints
from stmbench.errors import ConfigError
from stmbench.tables import Store
from tests.comparison.stores import DW, HALO, WHEN, row, write


def _training(folder: Path, model: str, seed: int, day: int, *, kept: bool = True) -> Path:
    """A training's row that names its weights, and the file."""
    place = f"checkpoints/{model}-s{seed}-{day}/last.safetensors"
    if kept:
        (folder / place).parent.mkdir(parents=True)
        (folder / place).touch()
    rows = [
        row(analysis="train", definition="train.v1", metric="weights", unit="count", kind="raw", model=model, seed=seed,
            value=1.0, artifact=place if kept else None, created_utc=WHEN.replace(day=day))
    ]  # fmt: skip
    write(folder, rows, key=f"{model}{seed}{day}")
    return folder / place


def test_the_newest_training_of_the_first_seed(tmp_path: Path) -> None:
    _training(tmp_path, DW, 0, 14)
    newest = _training(tmp_path, DW, 0, 16)
    _training(tmp_path, DW, 1, 17)
    other = _training(tmp_path, HALO, 3, 14)
    found = trained_checkpoints(tmp_path, [HALO, DW])
    assert {model: item.path for model, item in found.items()} == {HALO: other, DW: newest}


def test_a_model_that_was_not_trained_there_is_named(tmp_path: Path) -> None:
    _training(tmp_path, DW, 0, 14)
    with pytest.raises(ConfigError, match=f"a training of {HALO}.*got those of {DW}"):
        trained_checkpoints(tmp_path, [DW, HALO])


@pytest.mark.parametrize("trained", [True, False])
def test_a_folder_without_finished_trainings(trained: bool, tmp_path: Path) -> None:
    if trained:
        _training(tmp_path, DW, 0, 14, kept=False)
    else:
        Store(tmp_path).require_writable()
    with pytest.raises(ConfigError, match="a store of trainings as --checkpoint"):
        trained_checkpoints(tmp_path, [DW])
