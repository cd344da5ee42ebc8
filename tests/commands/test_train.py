"""`stmbench train` from the command line to what it leaves behind, and what it refuses."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stmbench.tables import COLUMNS, read
from tests.commands import run
from tests.data.builders import tree
from tests.training.runs import folders

IDENTITY = "unified_identity_nano"
FEW = ("--models", IDENTITY, "--epochs", "2", "--data-fraction", "0.1", "--batch-size", "32")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Two epochs on a tenth of digits, with the weights of each."""
    out = tmp_path_factory.mktemp("train")
    return out, run.stmbench("train", *FEW, "--keep-every", "1", "--out", str(out))


def test_shown_drawn_and_kept(store: tuple[Path, Any]) -> None:
    out, result = store
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[0] == "model"
    assert any(line.startswith("Identity ") for line in lines)
    assert "data_fraction=0.1" in result.stdout
    assert "untrained" not in result.stderr
    assert {path.name for path in (out / "figures").iterdir()} == {"training_curves.svg", "training_curves.png"}
    (folder,) = (out / "checkpoints").iterdir()
    assert folder.name.startswith(f"{IDENTITY}-digits-s0-")
    kept = {path.name for path in folder.iterdir()}
    assert kept == {
        "last.safetensors",
        "best.safetensors",
        "epoch-0001.safetensors",
        "epoch-0002.safetensors",
        "progress.json",
        "state.pt",
    }
    again = run.stmbench("train", *FEW, "--out", str(out))
    assert "0 units of work measured, 1 taken from the store" in again.stderr


def test_its_rows(store: tuple[Path, Any]) -> None:
    frame = read(store[0])
    assert tuple(frame.columns) == COLUMNS
    raw = frame[frame["kind"] == "raw"].groupby("metric")["sample"].apply(list).to_dict()
    for metric in ("train_loss", "learning_rate", "throughput", "accuracy", "test_loss"):
        assert raw[metric] == [0, 1]
    assert set(frame["condition"]) == {"data_fraction=0.1"}
    assert set(frame["weights"].str.partition(":")[0]) == {"digits.0.1.e2.s0"}
    final = frame[(frame["metric"] == "accuracy") & (frame["kind"] == "summary")].iloc[0]
    assert final["ci_low"] < final["value"] < final["ci_high"]
    assert final["num_images"] == 355
    assert set(frame[frame["metric"] == "accuracy"]["split"]) == {"test"}
    assert set(frame[frame["metric"] == "train_loss"]["split"]) == {"train"}
    assert all((store[0] / path).is_file() for path in frame["artifact"].dropna())


@pytest.mark.parametrize("name", ["last", "epoch-0001"])
def test_its_weights_are_evaluated_to_the_same_accuracy(store: tuple[Path, Any], tmp_path: Path, name: str) -> None:
    (file,) = store[0].glob(f"checkpoints/*/{name}.safetensors")
    result = run.stmbench("eval", "--models", IDENTITY, "--checkpoint", str(file), "--json", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    measured = [row for row in json.loads(result.stdout) if row["metric"] == "accuracy"]
    trained = read(store[0])
    accuracies = trained[(trained["metric"] == "accuracy") & (trained["kind"] == "raw")].sort_values("sample")["value"]
    assert [row["value"] for row in measured] == [accuracies.iloc[-1 if name == "last" else 0]]
    source = measured[0]["weights"].partition(":")[0]
    assert source == ("digits.0.1.e2.s0" if name == "last" else "digits.0.1.e2.s0.epoch1")
    if name == "last":
        assert measured[0]["weights"] == trained["weights"].iloc[0]


def test_a_larger_share_holds_the_smaller_one_and_each_class_alike() -> None:
    from stmbench.tasks.base import open_data
    from tests.training.runs import settings

    shares = {share: open_data(settings("digits", data_fraction=share)) for share in (0.1, 0.3, 1.0)}
    labels = shares[1.0].train.labels()
    assert labels is not None
    for share, data in shares.items():
        counts = [sum(int(labels[index]) == digit for index in data.chosen) for digit in range(10)]
        assert sum(counts) == round(share * 1442)
        assert max(counts) - min(counts) <= (1 if share < 1 else 8)
    chosen = [set(data.chosen) for data in shares.values()]
    assert chosen[0] < chosen[1] < chosen[2]
    other = open_data(settings("digits", data_fraction=0.1, seed=1))
    assert set(other.chosen) != chosen[0], "drawn by the seed"


REFUSED = {
    "a field": (("--set", "mixpu=0"), "a field of a recipe, got 'mixpu'; did you mean mixup or cutmix?"),
    "epochs": (("--set", "epochs=many"), "epochs as a whole number, got 'many'"),
    "a rate": (("--set", "lr=abc"), "lr as a number, got 'abc'"),
    "a pair": (("--set", "betas=3"), "betas as a list of 2 numbers, got 3"),
    "no value": (("--set", "mixup"), "a field of the recipe and a value, got 'mixup'"),
    "open list": (("--set", "betas=[0.9"), "a value such as 0.1, null or [0.5, 1], got '[0.9'"),
    "a warm-up as long": (
        ("--recipe", "stm", "--epochs", "20", "--set", "warmup_epochs=20"),
        "fewer warmup_epochs than the 20 epochs, got 20",
    ),
    "recipe": (("--recipe", "stn"), "a recipe, got 'stn'; did you mean stm"),
    "seeds": (("--seeds", "a"), "seeds such as 0,1,2, below 2^32, got 'a'"),
    "a large seed": (("--seeds", "0,4294967296"), "below 2^32, got '4294967296'"),
    "no data": (("--data-fraction", "0"), "a data fraction above 0 and up to 1, got 0.0"),
    "too much": (("--data-fraction", "2"), "a data fraction above 0 and up to 1, got 2.0"),
    "dtype": (("--dtype", "fp23"), "a dtype, got 'fp23'"),
    "sizes": (("--resolution", "32,64"), "one resolution, got '32,64'"),
    "split": (("--train-split", "val"), "the split 'train' or 'test' of digits, got 'val'"),
    "no state": (("--resume", "nowhere"), "the state of a training run, got no file at nowhere"),
    "one of many": (("--seeds", "0,1", "--resume", "nowhere"), "one run to resume, got 2"),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    assert said in run.refusal("train", "--models", IDENTITY, *options, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_data_that_do_not_fit(tmp_path: Path) -> None:
    data, base = folders(tmp_path / "pets"), ("train", "--batch-size", "16", "--out", str(tmp_path / "out"))
    fewer = run.refusal(*base, "--models", f"{IDENTITY}[num_classes=10]", "--dataset", str(data))
    assert "a data set with the model's 10 classes, got 2 in pets" in fewer
    tree(data / "test", {"mouse": 1})
    other = run.refusal(*base, "--models", IDENTITY, "--dataset", str(data))
    assert "images of every class in pets's train, got none of mouse, which test has; correct the folders" in other


def test_a_few_images_are_enough(tmp_path: Path) -> None:
    tree(tmp_path / "pets" / "train", {"cat": 21, "dog": 21})
    tree(tmp_path / "pets" / "val", {"cat": 2, "dog": 2})
    arguments = ("--models", IDENTITY, "--dataset", str(tmp_path / "pets"), "--resolution", "32", "--epochs", "1")
    result = run.stmbench("train", *arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    said = "fewer images than the batch of 4096, trained in batches of 42 with a learning rate of 4.1e-05"
    assert said in result.stderr
    assert "warmed up for 0.067 of 1 epochs, in place of the recipe's 20 of 300 epochs" in result.stderr
    frame = read(tmp_path / "out")
    assert set(frame["batch_size"].dropna()) == {42}
    assert len(frame[frame["metric"] == "train_loss"]) == 1
    again = run.stmbench("train", *arguments, "--out", str(tmp_path / "out"))
    assert "0 units of work measured" in again.stderr


def test_losses_that_are_not_finite(tmp_path: Path) -> None:
    models = f"{IDENTITY},{IDENTITY}[drop_path_rate=0.1,num_classes=10]"
    options = ("--set", "warmup_epochs=0", "--epochs", "1", "--data-fraction", "0.03", "--batch-size", "16")
    high = ("--set", "lr=1e30", "--set", "optimizer=sgd")
    result = run.stmbench("train", "--models", models, *options, *high, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.count(" is nan at step ") >= 2
    assert "2 failed" in result.stderr
    assert "--checkpoint" not in result.stderr, "nothing was measured on weights of chance"


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run.stmbench("train", *FEW, "--tensorboard", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.glob("checkpoints/*/tensorboard")
    events = EventAccumulator(str(folder))  # type: ignore[no-untyped-call]
    events.Reload()  # type: ignore[no-untyped-call]
    points = events.Scalars("test/accuracy")  # type: ignore[no-untyped-call]
    frame = read(tmp_path)
    rows = frame[(frame["metric"] == "accuracy") & (frame["kind"] == "raw")].sort_values("sample")
    assert [point.step for point in points] == rows["step"].tolist()
    assert [point.value for point in points] == pytest.approx(rows["value"].tolist(), abs=1e-6)


def test_tensorboard_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "tensorboard":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    line = run.refusal("train", *FEW, "--tensorboard", "--out", str(tmp_path / "out"))
    assert (
        "expected TensorBoard for --tensorboard, got an environment without it; pip install 'stmbench[tensorboard]'"
        in line
    )
    assert not (tmp_path / "out").exists()
