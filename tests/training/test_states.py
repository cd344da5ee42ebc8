"""States and finished files that are not as they were written: the run goes on from the state before, and says so."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stmbench.checkpoints.loading import state_hash
from stmbench.errors import CheckpointError
from stmbench.training.settings import TrainingSettings
from stmbench.training.state import PREVIOUS, STATE, load_state, save_state
from tests.training.runs import PLAIN, folders, settings, training

STEPS = 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingSettings]:
    root = tmp_path_factory.mktemp("finished")
    run = settings(folders(root / "pets"), recipe=dataclasses.replace(PLAIN, epochs=1, warmup_epochs=0))
    training(root / "out", run).run()
    return root / "out", run


def _copy(out: Path, to: Path) -> tuple[Path, Path]:
    """A copy of the store, and its run's folder."""
    shutil.copytree(out, to)
    (folder,) = to.glob("checkpoints/*")
    return to, folder


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _without(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        del state[name]
        torch.save(state, path)

    return change


def _with(name: str, value: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        torch.save({**torch.load(path, weights_only=True), name: value}, path)

    return change


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (_cut, "state.pt, damaged or foreign"),
    "flipped": (_flip, "state.pt, damaged or foreign"),
    "no optimiser": (_without("optimizer"), "state.pt without optimizer"),
    "no format": (_without("format"), "state.pt, damaged or foreign"),
    "newer": (_with("format", 4), "format 4 in state.pt"),
    "format in words": (_with("format", "x"), "format 'x' in state.pt"),
    "another record": (_with("record", {"epoch": 1}), "another in state.pt"),
}


@pytest.mark.parametrize(("damage", "said"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_state_is_refused_with_the_way_on(
    tmp_path: Path, finished: tuple[Path, TrainingSettings], damage: Callable[[Path], None], said: str
) -> None:
    out, run = finished
    facts = training(out, run).facts(run)
    shutil.copy(next(out.glob(f"checkpoints/*/{STATE}")), tmp_path / STATE)
    damage(tmp_path / STATE)
    with pytest.raises(CheckpointError) as error:
        load_state(tmp_path, facts)
    assert error.value.got == said
    assert error.value.remedy.endswith("start anew with --fresh")
    shutil.copy(tmp_path / STATE, tmp_path / PREVIOUS)
    with pytest.raises(CheckpointError, match=r"go on from state\.previous\.pt beside it"):
        load_state(tmp_path, facts)


FALLBACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (_cut, "state.pt, damaged or foreign"),
    "another model": (_with("model", {"a": torch.zeros(1)}), "state.pt, which does not fit (RuntimeError: "),
}


@pytest.mark.parametrize(("damage", "said"), FALLBACKS.values(), ids=FALLBACKS.keys())
def test_an_unusable_state_of_its_own_gives_way_to_the_one_before(
    tmp_path: Path, finished: tuple[Path, TrainingSettings], damage: Callable[[Path], None], said: str
) -> None:
    out, folder = _copy(finished[0], tmp_path / "out")
    run = finished[1]
    wanted = state_hash(load_file(folder / "last.safetensors"))
    damage(folder / STATE)
    _cut(folder / "last.safetensors")
    analysis = training(out, run)
    report = analysis.run()
    assert (report.measured, report.failures) == (1, []), "rows without their weights do not do"
    again, state = report.warnings
    assert again.startswith("damaged, and measured again: checkpoints/")
    assert state.startswith(f"{run.model}: could not use state.pt ({said}")
    assert state.endswith(f"went on from state.previous.pt, after {STEPS} steps")
    assert state_hash(load_file(folder / "last.safetensors")) == wanted
    assert (folder / "state.refused.pt").is_file()
    for name in (STATE, PREVIOUS):
        assert len(load_state(folder / name, analysis.facts(run))["record"]["losses"]) == STEPS


def test_where_neither_state_can_be_used_it_begins_anew(
    tmp_path: Path, finished: tuple[Path, TrainingSettings]
) -> None:
    out, folder = _copy(finished[0], tmp_path / "out")
    wanted = state_hash(load_file(folder / "last.safetensors"))
    for name in (STATE, PREVIOUS, "last.safetensors"):
        _cut(folder / name)
    (_, state) = training(out, finished[1]).run().warnings
    assert "could not use state.pt (state.pt, damaged or foreign) and state.previous.pt (state.previous.pt, " in state
    assert state.endswith(", began anew")
    assert state_hash(load_file(folder / "last.safetensors")) == wanted


@pytest.mark.parametrize(
    ("name", "damage"),
    [("last.safetensors", _cut), ("last.safetensors", _flip), ("losses.npy", Path.unlink)],
    ids=["cut", "flipped", "gone"],
)
def test_finished_files_are_checked(
    tmp_path: Path, finished: tuple[Path, TrainingSettings], name: str, damage: Callable[[Path], None]
) -> None:
    """What is gone or differs is written again from the state, without a step of training."""
    out, folder = _copy(finished[0], tmp_path / "out")
    (losses,) = out.glob("parts/*losses.npy")
    wanted = np.load(losses), state_hash(load_file(folder / "last.safetensors"))
    damage(next(out.rglob(f"*{name}")))
    steps = list[float]()
    assert training(out, finished[1], listener=lambda event: steps.append(event.done)).run().measured == 1
    np.testing.assert_array_equal(np.load(losses), wanted[0])
    assert state_hash(load_file(folder / "last.safetensors")) == wanted[1]
    assert not [step for step in steps if 0 < step < 1]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_killed_anywhere_amid_a_save_a_whole_state_is_there(
    tmp_path: Path, finished: tuple[Path, TrainingSettings], monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Before or after each operation on the folder; on a file system without links too."""
    out, run = finished
    facts = training(out, run).facts(run)
    state = torch.load(next(out.glob(f"checkpoints/*/{STATE}")), weights_only=True)
    content = {key: value for key, value in state.items() if key not in ("format", "facts")}
    count, fatal = 0, 0

    def watched(operation: Callable[..., object], able: bool = True) -> Callable[..., object]:
        def act(*args: object, **options: object) -> object:
            nonlocal count
            if not able:
                raise OSError(95, "Operation not supported")
            for moment in ("before", "after"):
                count += 1
                if count == fatal:
                    raise Killed
                if moment == "before":
                    result = operation(*args, **options)
            return result

        return act

    monkeypatch.setattr(os, "link", watched(os.link, links))
    monkeypatch.setattr(os, "replace", watched(os.replace))
    survived = 0
    for fatal in range(1, 9):
        folder = tmp_path / str(fatal)
        folder.mkdir()
        count = -100
        for _ in range(2):
            save_state(folder / STATE, content, facts)
        count = 0
        try:
            save_state(folder / STATE, content, facts)
            survived += 1
        except Killed:
            pass
        usable = [name for name in (STATE, PREVIOUS) if (folder / name).is_file()]
        assert usable, fatal
        for name in usable:
            assert len(load_state(folder / name, facts)["record"]["losses"]) == STEPS
    assert survived == 4, "two operations with two moments each"
