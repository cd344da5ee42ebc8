"""`probe` from images to rows, what it keeps, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from stmbench.analyses import images
from stmbench.analyses.options import RunSettings
from stmbench.analyses.probe import bank as bank_module
from stmbench.analyses.probe.features import Features, shared_classes, unknown_classes
from stmbench.analyses.probe.options import ProbeOptions
from stmbench.analyses.unit import Report
from stmbench.architectures.catalog import create_model
from stmbench.architectures.given_models import model_name_of
from stmbench.data.given_images import data_name_of
from stmbench.errors import InputError
from stmbench.tables import Store
from tests.commands import run as command
from tests.data.builders import tree
from tests.data.memory_set import MemorySet

MODEL, OTHER = "unified_dw_conv_nano", "unified_identity_nano"
SMALL = {"dataset": "digits", "bank_images": 60, "num_images": 30, "resolution": "32", "epochs": 3, "k": (5, 20)}


class Pixels(nn.Module):
    """The image in 8 x 8 positions as features; a constant added, or a factor that all of it is multiplied with."""

    num_classes = 0

    def __init__(self, add: float = 0.0, factor: float = 1.0) -> None:
        super().__init__()
        self.add, self.factor, self.seen = add, factor, nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64)."""
        return adaptive_avg_pool2d(images[:, :1], 8).flatten(1) * self.factor + self.add + self.seen


def _run(folder: Path, *models: str, control: str | None = None, seed: int = 0, **changes: Any) -> Report:
    options = ProbeOptions(**{**SMALL, **changes})
    settings = RunSettings(models=models or (MODEL,), seed=seed, control=control)
    return options.analysis(settings, Store(folder)).run()


def _rows(folder: Path, metric: str) -> pd.DataFrame:
    frame = Store(folder).read()
    return frame[frame["metric"] == metric]


def test_pixels_of_digits_are_told_apart(tmp_path: Path) -> None:
    name = model_name_of(Pixels())
    report = _run(tmp_path, name, bank_images=None, num_images=None, k=None, epochs=10)
    assert (report.measured, report.failures, report.warnings) == (4, [], [])
    neighbours = _rows(tmp_path, "knn_accuracy").set_index("level")
    assert list(neighbours.index) == [10, 20, 100, 200]
    assert neighbours.loc[20, "value"] > 0.95
    assert (neighbours["num_images"] == 355).all()
    assert ((neighbours["ci_low"] < neighbours["value"]) & (neighbours["value"] < neighbours["ci_high"])).all()
    assert (_rows(tmp_path, "knn_accuracy_top5")["value"] > 0.98).all()
    (linear,) = _rows(tmp_path, "linear_accuracy").to_dict("records")
    assert linear["value"] > 0.9
    assert (linear["condition"], linear["definition"], linear["split"]) == ("sgd", "probe.sgd10.v1", "test")
    held_out = _rows(tmp_path, "held_out_accuracy").set_index("level")["value"]
    (choice,) = _rows(tmp_path, "linear_choice")["value"]
    assert (len(held_out), held_out[choice]) == (7, held_out.max())


def test_another_k_and_a_second_run_extract_nothing(tmp_path: Path) -> None:
    assert _run(tmp_path).measured == 4
    before = Store(tmp_path).read()
    assert _run(tmp_path).measured == 0
    assert Store(tmp_path).read()["value"].equals(before["value"])
    again = _run(tmp_path, k=(3,), methods=("knn",))
    assert (again.measured, again.kept) == (1, 2)
    assert _run(tmp_path, solver="logistic", methods=("linear",)).measured == 1
    assert _run(tmp_path, num_images=20, methods=("knn",)).measured == 2  # other queries, the same bank
    assert _run(tmp_path, seed=1, methods=("knn",)).measured == 3


def test_features_are_those_of_the_network_without_its_head(tmp_path: Path) -> None:
    _run(tmp_path, methods=("knn",), batch_size=7)
    rows = _rows(tmp_path, "features").set_index("condition")
    assert rows["num_images"].to_dict() == {"bank": 60, "queries": 30}
    assert rows["split"].to_dict() == {"bank": "train", "queries": "test"}
    bank = Features.read(tmp_path / rows.loc["bank", "artifact"])
    assert (bank.features.shape, bank.features.dtype, bank.size.tolist()) == ((60, 128), np.float32, [32, 32])
    assert np.bincount(bank.labels).tolist() == [6] * 10
    assert rows.loc["bank", "value"] == 128
    (cosine,) = _rows(tmp_path, "feature_cosine")["value"]
    unit = bank.features / np.linalg.norm(bank.features, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[~np.eye(60, dtype=bool)]
    assert cosine == pytest.approx(pairs.mean(), abs=1e-5)


def test_a_checkpoint_without_a_head_is_used_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = create_model(MODEL, num_classes=10)
    state = {name: value for name, value in whole.state_dict().items() if not name.startswith("head.")}
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    torch.save(state, tmp_path / "headless.pth")
    for name in ("whole", "headless"):
        settings = RunSettings(models=(MODEL,), checkpoints={MODEL: tmp_path / f"{name}.pth"})
        options = ProbeOptions(**{**SMALL, "methods": ("knn",)})  # type: ignore[arg-type]
        report = options.analysis(settings, Store(tmp_path / name)).run()
        assert report.failures == []
    values = [_rows(tmp_path / name, "feature_cosine")["value"].item() for name in ("whole", "headless")]
    assert values[0] == pytest.approx(values[1])


def test_models_are_compared_with_the_control_on_the_same_queries(tmp_path: Path) -> None:
    _run(tmp_path, MODEL, OTHER, k=(5, 25), epochs=2)
    rows = _rows(tmp_path, "accuracy_difference")
    assert list(zip(rows["model"], rows["baseline"], rows["condition"], strict=True)) == [
        (MODEL, OTHER, "knn"), (MODEL, OTHER, "sgd"),
    ]  # fmt: skip
    assert rows["level"].iloc[0] == 25  # the k nearest to 20
    found = _rows(tmp_path, "knn_accuracy").set_index(["model", "level"])["value"]
    assert rows["value"].iloc[0] == pytest.approx(found[MODEL, 25.0] - found[OTHER, 25.0])
    assert (rows["num_images"] == 30).all()


@pytest.mark.parametrize(
    ("module", "words"),
    [(Pixels(add=1e4), "the mean cosine of features is 1.000000"), (Pixels(factor=0), "all features are the same")],
)
def test_a_collapsed_network_is_warned_of_and_has_its_rows(tmp_path: Path, module: nn.Module, words: str) -> None:
    name = model_name_of(module)
    report = _run(tmp_path, name)
    assert report.failures == []
    assert any(text.startswith(f"collapsed: {name}") and words in text for text in report.warnings)
    assert len(_rows(tmp_path, "knn_accuracy")) == 2


def test_every_collapsed_network_and_damage_to_either_split_is_warned_of(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 3)):
        tree(tmp_path / "pets" / split, {"cat": count, "dog": count})
    (tmp_path / "pets/train/cat/001.png").write_bytes(b"")
    (tmp_path / "pets/train/dog/001.png").write_bytes(b"")
    (tmp_path / "pets/test/dog/002.png").write_bytes(b"")
    names = [model_name_of(Pixels(add=add)) for add in (1e4, 2e4)]
    changes = {"dataset": str(tmp_path / "pets"), "bank_images": None, "num_images": None, "k": (2,)}
    said = "\n".join(_run(tmp_path / "out", *names, methods=("knn",), **changes).warnings)
    assert all(f"collapsed: {name}" in said for name in names)
    assert "skipped 2 corrupt images of pets: cat/001.png" in said
    assert "skipped 1 corrupt image of pets: dog/002.png" in said


def test_features_that_are_not_finite_fail_alone(tmp_path: Path) -> None:
    name = model_name_of(Pixels(add=math.inf))
    report = _run(tmp_path, name, MODEL)
    assert len(report.failures) == 2  # of the bank and of the queries; there is nothing to judge
    assert "expected finite features, got NaN or infinity for 32 of the 32 images" in report.failures[0]
    assert set(_rows(tmp_path, "knn_accuracy")["model"]) == {MODEL}


def test_queries_of_classes_that_the_bank_lacks_are_wrong() -> None:
    def features(labels: list[int]) -> Features:
        known = np.asarray(labels)
        vectors = np.eye(8, dtype=np.float32)[known]
        return Features(features=vectors, labels=known, indices=known, size=np.array([32, 32]))

    bank, queries = features([2, 5, 5]), features([5, 1, 7, 2])
    labels, wanted, classes = shared_classes(bank, queries)
    assert (labels.tolist(), wanted.tolist(), classes.tolist()) == ([0, 1, 1], [1, -2, -2, 0], [2, 5])
    assert unknown_classes(bank, queries) == (
        "2 of 4 queries are of classes without an image in the bank (1, 7) and count as wrong"
    )
    assert unknown_classes(bank, bank) is None


def test_a_bank_without_a_class_is_said(tmp_path: Path) -> None:
    report = _run(tmp_path, bank_images=9, k=(3,), methods=("knn",))
    assert any("3 of 30 queries are of classes without an image in the bank" in text for text in report.warnings)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"k": (5, 500, 900)}, "expected a bank of at least 900 images, got 60 for k = 500, 900; lower --k"),
    ({"k": None, "bank_images": 9}, "expected a bank of at least 10 images, got 9 for k = 10, 20, 100, 200"),
    ({"k": (0,)}, "expected numbers of neighbours of at least 1, got 0; change --k"),
    ({"k": ()}, "numbers of neighbours of at least 1, got none"),
    ({"temperature": 0.0}, "expected a temperature above 0, got 0; change --temperature"),
    ({"methods": ("knn", "svm")}, "'svm'"),
    ({"methods": ()}, "at least one of knn, linear, got none"),
    ({"solver": "adam"}, "'adam'"),
    ({"dataset": "photos"}, "got photos, which has none"),
    ({"train_split": "extra"}, "change --train-split"),
    ({"split": "extra"}, "change --split"),
    ({"train_split": "test"}, "expected a bank other than the queries"),
    (
        {"bank_images": 10**6},
        "expected at least 1000000 images, got 1442 in digits, split 'train'; lower --bank-images",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        _run(tmp_path / "out", **changes)
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_default_numbers_of_neighbours_that_are_too_large_are_left_out(tmp_path: Path) -> None:
    report = _run(tmp_path, k=None, methods=("knn",))
    assert _rows(tmp_path, "knn_accuracy")["level"].tolist() == [10, 20]
    assert "the bank has 60 images: no k of 100, 200" in report.notes


class Named(MemorySet):
    """Pictures of other classes than those of another split."""

    def __init__(self, split: str, labels: Sequence[int], classes: tuple[str, ...] | None) -> None:
        super().__init__(labels)
        self.split, self.classes = split, classes


@pytest.mark.parametrize(
    ("bank", "queries", "message"),
    [
        (
            (("a", "b"), [0, 1, 1]),
            (("a", "c"), [0, 1]),
            "got 2 and 2, b, c in one of them alone",
        ),
        ((("a", "b"), [0, 1, 1]), (("a", "b", "d"), [0, 1]), "got 2 and 3, d in one of"),
        ((("a", "b"), [0, 1, 1]), (("b", "a"), [0, 1]), "got 2 and 2, in another order"),
        ((None, [0, 1, 1]), (None, [7, 8]), "expected queries of classes that the bank has, got none of them"),
    ],
)
def test_classes_that_differ_between_the_splits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bank: Any, queries: Any, message: str
) -> None:
    sets = {"train": Named("train", bank[1], bank[0]), "test": Named("test", queries[1], queries[0])}
    for module in (images, bank_module):
        monkeypatch.setattr(module, "open_set", lambda _, *, split, **__: sets[split])
    with pytest.raises(InputError) as raised:
        _run(tmp_path / "out", bank_images=None, num_images=None, k=(1,))
    assert message in str(raised.value)


def test_a_class_folder_that_one_split_lacks_keeps_its_number(tmp_path: Path) -> None:
    tree(tmp_path / "set" / "train", {"a": 3, "b": 3})
    tree(tmp_path / "set" / "test", {"b": 2, "c": 1})
    changes = {"dataset": str(tmp_path / "set"), "bank_images": None, "num_images": None}
    report = _run(tmp_path / "out", k=(1,), methods=("knn",), **changes)
    assert any(text.startswith("1 of 3 queries are of classes without an image") for text in report.warnings)


def test_the_command_refuses_in_one_line_and_detectors_too(tmp_path: Path) -> None:
    where = ("--out", str(tmp_path / "out"))
    for words, message in (
        ((f"fasterrcnn:{MODEL}",), f"name its backbone, {MODEL}"),
        ((MODEL, "--k", "5000"), "expected a bank of at least 5000 images, got 1442"),
        ((MODEL, "--temperature", "-1"), "change --temperature"),
        ((MODEL, "--methods", "svm"), "svm"),
    ):
        result = command.stmbench("probe", *words, *where)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_images_that_are_given_have_no_second_split(tmp_path: Path) -> None:
    name = data_name_of(torch.zeros(4, 3, 8, 8), labels=[0, 0, 1, 1])
    with pytest.raises(InputError, match="expected a data set of two splits, a bank and queries, got images that are"):
        _run(tmp_path / "out", dataset=name, num_images=None)
