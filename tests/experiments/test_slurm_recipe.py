"""The recipe of docs/experiments.md, with submitit's jobs in this process instead of on a cluster."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("submitit")

from stmbench.tables import read
from tests.experiments.files import HEAD, MODELS
from tests.experiments.plans import planned

RECIPE = Path(__file__).parents[2] / "examples" / "slurm.py"
TEXT = f"{HEAD}control: {MODELS[0]}\nanalyses: [{{analysis: eval, set: digits, num_images: 4}}]\n"


def test_tasks_become_jobs_in_the_order_of_their_needs(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("slurm_recipe", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    store = tmp_path / "store"
    tasks = planned(tmp_path, TEXT)
    assert recipe.submit(tasks, store, "debug", {"timeout_min": 5}) == []
    frame = read(store)
    assert set(frame["model"]) == set(MODELS)
    assert "accuracy_difference" in set(frame["metric"]), "the comparison came after what it compares"
