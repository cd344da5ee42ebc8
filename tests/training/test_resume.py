"""A run that was stopped anywhere, by anything, ends with the losses and weights of one that never was."""

from __future__ import annotations

import dataclasses
import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stmbench.analyses.base import Progress
from stmbench.checkpoints.loading import state_hash
from stmbench.data import parquet
from stmbench.reporting.live import runs_under_way
from stmbench.tasks.base import open_data
from stmbench.training import loop
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.recipe import Recipe
from stmbench.training.state import STATE
from tests.data.test_parquet import write
from tests.training.runs import PLAIN, RANDOM, STEPS, folders, memory, settings, trained, training


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)


def results(out: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Losses and learning rates, and the hash of every file of weights."""
    (losses,) = out.glob("parts/*losses.npy")
    (folder,) = out.glob("checkpoints/*")
    return np.load(losses), {path.name: state_hash(load_file(path)) for path in folder.glob("*.safetensors")}


def assert_same(out: Path, other: Path) -> None:
    (losses, weights), (wanted, hashes) = results(out), results(other)
    assert losses.shape[1] > STEPS
    np.testing.assert_array_equal(losses, wanted)
    assert weights == hashes


def test_killed_amid_an_epoch_with_everything_random_on(tmp_path: Path) -> None:
    data = folders(tmp_path / "pets")
    command = [sys.executable, "-m", "tests.training.killed_run", str(tmp_path / "killed"), str(data), "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = settings(data, recipe=RANDOM)
    (state,) = tmp_path.glob(f"killed/checkpoints/*/{STATE}")
    assert not list(tmp_path.glob("killed/parts/*.parquet"))
    (unfinished,) = runs_under_way(tmp_path / "killed")
    assert (unfinished["columns"]["model"], unfinished["epoch"], unfinished["epochs"]) == (run.model, 2, RANDOM.epochs)
    assert [place for place, _ in unfinished["curves"]["train_loss"]] == pytest.approx([1 / 3, 2 / 3, 1])
    assert len(unfinished["curves"]["accuracy"]) == 1
    steps = list[int]()

    def listen(event: Progress) -> None:
        steps.append(round(event.done * STEPS * RANDOM.epochs))

    training(tmp_path / "killed", run, listener=listen).run()
    assert runs_under_way(tmp_path / "killed") == []
    assert [step for step in steps if step] == [5, 6, 7, 8, 9], "the fourth step was saved and is not repeated"
    training(tmp_path / "whole", run).run()
    assert_same(tmp_path / "killed", tmp_path / "whole")
    assert not list(state.parent.glob(".*")), "no temporary file is left"


CASES: dict[str, tuple[Recipe, dict[str, object]]] = {
    "everything random": (RANDOM, {}),
    "sgd": (dataclasses.replace(PLAIN, optimizer="sgd"), {}),
    "double precision": (PLAIN, {"dtype": "fp64"}),
    "bf16": (PLAIN, {"dtype": "bf16"}),
    "fp16 and its scale": (PLAIN, {"dtype": "fp16"}),
    "accumulated": (RANDOM, {"accumulate": 2}),
    "blocks recomputed": (RANDOM, {"grad_checkpointing": True}),
    "container": (RANDOM, {"model": "container_container_nano"}),
}


@pytest.mark.parametrize(("recipe", "rest"), CASES.values(), ids=CASES.keys())
def test_from_each_state_to_the_same_end(recipe: Recipe, rest: dict[str, object]) -> None:
    run = settings(recipe=recipe, **rest)
    states = dict[int, bytes]()

    def keep(made: Loop, _: str) -> None:
        file = io.BytesIO()
        torch.save(made.state(), file)
        states[len(made.record.losses)] = file.getvalue()

    whole = Loop(run, memory(), ProcessGroup(), keep=keep, tell=lambda *_: None)
    whole.run()
    assert set(states) == set(range(1, whole.steps + 1)), "a state after each step"
    for step in (4, 6):  # amid an epoch, and between two
        again = Loop(run, memory(), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
        again.restore(torch.load(io.BytesIO(states[step]), weights_only=True))
        again.run()
        assert again.record.losses == whole.record.losses
        assert again.record.rates == whole.record.rates
        assert state_hash(again.result.state_dict()) == state_hash(whole.result.state_dict())
        assert [epoch.scores for epoch in again.record.epochs] == [epoch.scores for epoch in whole.record.epochs]


@pytest.mark.parametrize("recipe", [PLAIN, RANDOM], ids=["shifted", "everything random"])
def test_processes_that_decode_ahead_change_nothing(recipe: Recipe) -> None:
    alone, helped = trained(settings(recipe=recipe)), trained(settings(recipe=recipe, workers=2))
    assert alone.record.losses == helped.record.losses
    assert state_hash(alone.result.state_dict()) == state_hash(helped.result.state_dict())


def test_images_in_row_groups_from_a_state_and_with_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, count in (("train", 48), ("test", 9)):
        write(tmp_path / f"{split}-00000-of-00001.parquet", [0, 1] * (count // 2) + [1] * (count % 2), group=5)
    monkeypatch.setattr(parquet, "KEEP_BYTES", 3_000)  # some of ten groups
    states = dict[int, bytes]()

    def keep(made: Loop, _: str) -> None:
        file = io.BytesIO()
        torch.save(made.state(), file)
        states[len(made.record.losses)] = file.getvalue()

    run = settings(tmp_path, recipe=RANDOM)
    whole = Loop(run, open_data(run), ProcessGroup(), keep=keep, tell=lambda *_: None)
    whole.run()
    helped = dataclasses.replace(run, workers=2)
    again = Loop(helped, open_data(helped), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    again.restore(torch.load(io.BytesIO(states[4]), weights_only=True))
    again.run()
    assert again.record.losses == whole.record.losses
    assert state_hash(again.result.state_dict()) == state_hash(whole.result.state_dict())


def test_another_seed_is_another_run() -> None:
    runs = [trained(settings(recipe=PLAIN, seed=seed)).record.losses for seed in (0, 1, 0)]
    assert runs[0] == runs[2]
    assert not set(runs[0]) & set(runs[1])
