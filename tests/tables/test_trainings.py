"""What every training was configured with: kept by the store, shown in the report, compared between two stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stmbench.analyses.train.section import configuration_table
from stmbench.comparison.stored import StoredConfig, compare_stores
from stmbench.reporting import read_stores
from stmbench.tables import Store
from stmbench.tables.trainings import configuration_changes, configurations, difference
from tests.comparison.stores import DW, HALO, costs, row, write

RECIPE: dict[str, Any] = {"lr": 0.003, "betas": [0.9, 0.999], "ema": None, "epochs": 2}


def trained(folder: Path, model: str = DW, seed: int = 0, **change: Any) -> Path:
    known = {"model": model, "analysis": "train", "definition": "train.v1", "weights": f"digits.e2.s{seed}:ab{seed}"}
    rows = [row(metric="accuracy", unit="1", value=0.9, seed=seed, **known)]
    settings = {"recipe": {**RECIPE, **change}, "dtype": "fp32", "deterministic": True}
    return write(folder, rows, key=f"{model}{seed}", analysis="train", settings=settings)


def test_runs_of_one_configuration_stand_together(tmp_path: Path) -> None:
    for model, seed in ((DW, 0), (DW, 1), (HALO, 0)):
        trained(tmp_path, model, seed)
    trained(tmp_path, HALO, 1, lr=0.001)
    (most, runs), (other, rest) = configurations(read_stores([tmp_path]))
    assert most == {
        **{"lr": "0.003", "betas": "0.9, 0.999", "ema": "none", "epochs": "2"},
        **{"dtype": "fp32", "deterministic": "yes"},
    }
    assert (len(runs), rest) == (3, [(HALO, "digits.e2.s1:ab1")])
    assert difference(most, other) == "lr 0.003 to 0.001"


def test_the_report_folds_them_and_what_differs_stands_first(tmp_path: Path) -> None:
    trained(tmp_path, DW, 0)
    trained(tmp_path, DW, 1)
    trained(tmp_path, HALO, 0, lr=0.001)
    table = configuration_table(read_stores([tmp_path]))
    assert table is not None
    assert table.folded
    assert [(column.heading, column.unit) for column in table.columns[1:]] == [(DW, "seeds 0, 1"), (HALO, "seed 0")]
    assert [cell.text for cell in table.lines[0].cells] == ["lr", "0.003", "0.001"]
    assert table.note == "The first row differs."
    assert {line.cells[0].text for line in table.lines} == {*RECIPE, "dtype", "deterministic"}


def test_a_store_without_trainings_has_none(tmp_path: Path) -> None:
    frame = read_stores([write(tmp_path, costs())])
    assert (configurations(frame), configuration_table(frame)) == ([], None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, {}),
        ({"epochs": 12, "lr": 0.1}, {"epochs 2 to 12; lr 0.003 to 0.1": [DW]}),
        ({"ema": {"decay": 0.99}}, {"ema none to decay 0.99": [DW]}),
        ({"new": False}, {"new unknown to no": [DW]}),
    ],
)
def test_two_stores_are_compared(tmp_path: Path, change: dict[str, Any], words: dict[str, list[str]]) -> None:
    folders = trained(tmp_path / "a"), trained(tmp_path / "b", **change)
    assert configuration_changes(*(Store(folder).read() for folder in folders)) == words
    notes = compare_stores(*folders, StoredConfig()).notes
    assert [note for note in notes if note.startswith("trained differently")] == [
        f"trained differently: {what} ({DW})" for what in words
    ]
