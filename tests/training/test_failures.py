"""What can go wrong amid a run: a full disk, numbers that are not finite, damaged states and images."""

from __future__ import annotations

import dataclasses
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stmbench.analyses.base import Progress
from stmbench.checkpoints.loading import state_hash
from stmbench.errors import CheckpointError, ConfigError, OutputError, UnitError
from stmbench.tables import read
from stmbench.training import loop
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.settings import TrainingSettings
from stmbench.training.state import STATE, load_state, save_state, save_weights
from tests.data.memory_set import MemorySet
from tests.training.runs import PLAIN, STEPS, folders, memory, settings, trained, training

resource = pytest.importorskip("resource")


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """A function after which no file may grow beyond 64 KiB: what writes fails as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def only_row(out: Path) -> dict[str, object]:
    (row,) = read(out).to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    def listen(event: Progress) -> None:
        if round(event.done * STEPS * PLAIN.epochs) == 5:
            full_disk()

    run = settings(folders(tmp_path / "pets"))
    report = training(tmp_path / "out", run, listener=listen).run()
    assert len(report.failures) == 1
    row = only_row(tmp_path / "out")
    assert (row["status"], row["metric"], row["model"]) == ("failed", "accuracy", run.model)
    assert str(row["reason"]).startswith("expected to write last.safetensors, got ")
    assert str(row["reason"]).endswith("free space and run the same command again: the older checkpoint is whole")
    (folder,) = tmp_path.glob("out/checkpoints/*")
    assert not list(folder.glob(".*")), "no temporary file is left"
    analysis = training(tmp_path / "out", run)
    assert len(load_state(folder, analysis.facts(run))["record"]["losses"]) == 4
    assert state_hash(load_file(folder / "last.safetensors"))


def test_with_space_again_it_goes_on(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    run, out = settings(folders(tmp_path / "pets")), tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    full_disk()
    assert training(out, run).run().failures
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not training(out, run).run().failures
    assert set(read(out)["status"]) == {"ok"}


def _weights(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
    save_weights(path, tensors, source="digits.e1.s0", facts=facts)


@pytest.mark.parametrize("write", [save_state, _weights])
def test_a_file_is_replaced_as_a_whole_or_not_at_all(
    tmp_path: Path, full_disk: Callable[[], None], write: Callable[..., None]
) -> None:
    path = tmp_path / "file"
    write(path, {"a": torch.zeros(9)}, {})
    before = path.read_bytes()
    full_disk()
    with pytest.raises(OutputError, match=r"expected to write file, got .*; free space"):
        write(path, {"a": torch.zeros(2**16)}, {})
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", before)]


def test_a_learning_rate_far_too_high(tmp_path: Path) -> None:
    run = settings(folders(tmp_path / "pets"), recipe=dataclasses.replace(PLAIN, lr=1e30, optimizer="sgd"))
    training(tmp_path / "out", run).run()
    row = only_row(tmp_path / "out")
    assert row["status"] == "failed"
    # the warm-up's first step has a rate of 0, the second a third of the highest
    met = r"(a weight is (nan|inf)|the loss is nan) at step 2 \(epoch 1\), learning rate "
    assert re.match(met, str(row["reason"]))
    assert str(row["reason"]).endswith("lower lr, lengthen the warm-up or clip gradients")
    (folder,) = tmp_path.glob("out/checkpoints/*")
    kept = load_file(folder / "last.safetensors")
    assert all(value.isfinite().all() for value in kept.values()), "the earlier checkpoint stays"


@pytest.mark.parametrize("what", ["parameter", "buffer"])
def test_what_is_not_finite_is_not_saved(what: str) -> None:
    reached = list[str]()
    made = Loop(settings(), memory(), ProcessGroup(), keep=lambda _, name: reached.append(name), tell=lambda *_: None)
    if what == "parameter":
        first = next(made.model.parameters())

        def overflow(*_: object) -> None:
            if len(made.record.rates) == 3:
                first.data.fill_(torch.inf)

        made.optimizer.register_step_post_hook(overflow)
        said = r"a weight is inf at step 2 \(epoch 1\), learning rate 0.000667; lower lr"
    else:
        variance = next(value for name, value in made.model.named_buffers() if name.endswith("running_var"))
        made.optimizer.register_step_post_hook(lambda *_: variance.fill_(torch.nan))
        said = r"the test loss is nan at step 2 \(epoch 1\)"
    with pytest.raises(UnitError, match=said):
        made.run()
    assert reached == ["time", "time"]


DIFFERENT = {
    "model": ({"model": "unified_pooling_nano"}, "model 'unified_pooling_nano', got 'unified_identity_nano'"),
    "recipe": ({"recipe": dataclasses.replace(PLAIN, mixup=0.2)}, "recipe.mixup 0.2, got 0.0"),
    "seed": ({"seed": 1}, "seed 1, got 0"),
    "share": ({"data_fraction": 0.5}, "data_fraction 0.5, got 1.0"),
    "dtype": ({"dtype": "fp64"}, "dtype 'fp64', got 'fp32'"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingSettings]:
    root = tmp_path_factory.mktemp("finished")
    run = settings(folders(root / "pets"), recipe=dataclasses.replace(PLAIN, epochs=2))
    training(root / "out", run).run()
    return root, run


@pytest.mark.parametrize(("change", "said"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_state_of_another_run(
    tmp_path: Path, finished: tuple[Path, TrainingSettings], change: dict[str, object], said: str
) -> None:
    root, run = finished
    if "recipe" in change:
        change = {"recipe": dataclasses.replace(run.recipe, mixup=0.2)}
    other = dataclasses.replace(run, **change)  # type: ignore[arg-type]
    (state,) = root.glob(f"out/checkpoints/*/{STATE}")
    with pytest.raises(CheckpointError, match=said):
        training(tmp_path / "out", other, resume=state)
    assert not (tmp_path / "out").exists(), "refused before anything is written"


def test_a_state_of_other_images(tmp_path: Path, finished: tuple[Path, TrainingSettings]) -> None:
    root, run = finished
    data = folders(tmp_path / "pets")
    (data / "train" / "cat" / "000.png").unlink()
    (state,) = root.glob("out/checkpoints/*")
    with pytest.raises(CheckpointError, match=r"dataset\.train "):
        training(tmp_path / "out", dataclasses.replace(run, dataset=str(data)), resume=state)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing more", b"x" * 4096])
def test_a_damaged_state(tmp_path: Path, finished: tuple[Path, TrainingSettings], content: bytes) -> None:
    _, run = finished
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a state\.pt of stmbench, got state\.pt, damaged or foreign"):
        training(tmp_path / "out", run, resume=tmp_path)
    with pytest.raises(CheckpointError, match="no file at"):
        training(tmp_path / "out", run, resume=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="--resume or --fresh"):
        training(tmp_path / "out", run, resume=tmp_path, fresh=True)


def test_fresh_trains_again(tmp_path: Path, finished: tuple[Path, TrainingSettings]) -> None:
    _, run = finished
    training(tmp_path / "out", run).run()
    assert training(tmp_path / "out", run).run().kept == 1
    steps = list[float]()
    training(tmp_path / "out", run, fresh=True, listener=lambda event: steps.append(event.done)).run(fresh=True)
    assert min(step for step in steps if step) == pytest.approx(1 / 6), "from the first step"


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    data = memory()
    broken = dataclasses.replace(data, train=MemorySet([0, 1] * 24, corrupt=(3, 4)))
    whole = trained(settings(limit_corrupt=2), broken)
    assert len(whole.record.epochs) == PLAIN.epochs, "the limit is an epoch's: the same two images each time"
    with pytest.raises(UnitError, match=r"more than 1 images could not be read \(--limit-corrupt\)"):
        trained(settings(limit_corrupt=1), broken)
    tests = dataclasses.replace(data, test=MemorySet([0, 1, 0, 1], corrupt=(0, 1)))
    assert trained(settings(limit_corrupt=2), tests).record.epochs[-1].test_images == 2
    with pytest.raises(UnitError, match="more than 1 corrupt images"):
        trained(settings(limit_corrupt=1), tests)
