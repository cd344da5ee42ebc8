"""A set's classes against a model's: weights that are right read 100 % or are refused, and never anything between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stmbench.analyses.eval.evaluation import Evaluation
from stmbench.analyses.images import ImageRequest
from stmbench.architectures.catalog import create_model
from stmbench.data.class_maps import real_labels, synsets
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import open_set
from stmbench.errors import InputError
from stmbench.tables import Store
from tests.data.builders import encoded, picture, tree

MODEL = "unified_dw_conv_nano"


def right(
    path: Path, labels: dict[int, int], classes: int, names: list[str] | None = None, above: int | None = None
) -> Path:
    """Weights that give `picture(number)` its label: the head solves for it. Written with the classes' names.

    The output `above` is above all labels for every picture.
    """
    torch.manual_seed(0)
    model = create_model(MODEL, num_classes=classes).eval()
    wants = Preprocessing.of(model)
    pixels = torch.stack([wants.pixels(picture(number)) for number in labels])
    with torch.no_grad():
        seen = model.forward_head(model.forward_features(wants.normalise(pixels)), pre_logits=True)
    features = seen.double()
    wanted = torch.zeros(len(labels), classes, dtype=torch.float64)
    wanted[range(len(labels)), list(labels.values())] = 10
    if above is not None:
        wanted[:, above] = 20
    centre = features.mean(0)
    weight = torch.linalg.pinv(features - centre) @ (wanted - wanted.mean(0))
    state = model.state_dict()
    head = model.default_cfg["classifier"]
    state[f"{head}.weight"], state[f"{head}.bias"] = weight.T.float(), (wanted.mean(0) - centre @ weight).float()
    metadata = {} if names is None else {"classes": json.dumps(names)}
    save_file({name: value.contiguous() for name, value in state.items()}, path, metadata={"format": "pt", **metadata})
    return path


def evaluated(folder: Path, weights: Path, dataset: Path, **changes: Any) -> tuple[float | None, str]:
    """(accuracy, what was said)."""
    request = ImageRequest(models=(MODEL,), checkpoints={MODEL: weights}, dataset=str(dataset), **changes)
    report = Evaluation(request, Store(folder)).run()
    frame = Store(folder).read(report.keys).set_index("metric")
    value = frame.loc["accuracy", "value"]
    return (None if np.isnan(value) else float(value)), " ".join([*report.failures, *report.warnings])


def test_a_val_without_one_class_that_train_has(tmp_path: Path) -> None:
    for split in ("train", "val"):
        tree(tmp_path / "pets" / split, {"class1": 1, "class2": 1, "class3": 1, "class4": 1})
    shutil.rmtree(tmp_path / "pets" / "val" / "class2")
    weights = right(tmp_path / "w.safetensors", {0: 0, 1: 1, 2: 2, 3: 3}, 4)
    assert evaluated(tmp_path / "a", weights, tmp_path / "pets")[0] == 1.0
    assert evaluated(tmp_path / "b", weights, tmp_path / "pets" / "val")[0] == 1.0
    shutil.rmtree(tmp_path / "pets" / "train")
    value, said = evaluated(tmp_path / "c", weights, tmp_path / "pets")
    assert value is None
    assert "expected the model's 4 classes, got 3 in pets (class1, class3, class4); write a CSV of name,index" in said
    (tmp_path / "map.csv").write_text("class,index\nclass1,0\nclass2,1\nclass3,2\nclass4,3\n")
    value, said = evaluated(tmp_path / "d", weights, tmp_path / "pets", classes=str(tmp_path / "map.csv"))
    assert value == 1.0
    assert "pets[classes=map.csv]: judged on 3 classes, the logits of the model's others are left out" in said


def test_names_in_the_checkpoint_are_compared(tmp_path: Path) -> None:
    pets = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    swapped = right(tmp_path / "a.safetensors", {0: 1, 1: 0}, 2, ["dog", "cat"])
    value, said = evaluated(tmp_path / "a", swapped, pets)
    assert value is None
    assert "the model's classes (dog, cat), 'dog' for number 0, got 'cat' in its place in pets (cat, dog)" in said
    (tmp_path / "map.json").write_text('{"cat": 1, "dog": 0}')
    assert evaluated(tmp_path / "b", swapped, pets, classes=str(tmp_path / "map.json"))[0] == 1.0
    same = right(tmp_path / "b.safetensors", {0: 0, 1: 1}, 2, ["cat", "dog"])
    assert evaluated(tmp_path / "c", same, pets)[0] == 1.0


def test_folders_that_are_numbers(tmp_path: Path) -> None:
    names = {str(number): 1 for number in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)}
    root = tree(tmp_path / "numbers", names)  # picture 2 is in folder 10
    weights = right(tmp_path / "w.safetensors", {place: int(name) for place, name in enumerate(names)}, 11)
    value, said = evaluated(tmp_path / "a", weights, root)
    assert value is None
    assert "classes whose order is sure, got 0, 1, 10, 2, ... in numbers, in alphabetical order" in said
    assert evaluated(tmp_path / "b", weights, root, classes="numbers")[0] == 1.0


def test_a_subset_of_imagenet_is_judged_on_its_own_classes(tmp_path: Path) -> None:
    one, two = synsets()[6], synsets()[11]  # both are in ImageNet-A, 7 is not
    root = tree(tmp_path / "imagenet-a", {one: 1, two: 1})
    weights = right(tmp_path / "w.safetensors", {0: 6, 1: 11}, 1000, above=7)
    value, said = evaluated(tmp_path / "a", weights, root)
    assert value is None
    assert f"the model's 1000 classes, got 2 in imagenet-a ({one}, {two}); use --classes imagenet-1k" in said
    for word in ("imagenet-a", "imagenet-1k"):
        value, said = evaluated(tmp_path / word, weights, root, classes=word)
        assert value == 1.0
        assert f"imagenet-a[classes={word}]: judged on 2 classes" in said


def test_a_class_outside_of_the_subset_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {synsets()[0]: 1, synsets()[6]: 1})
    with pytest.raises(InputError, match=f"classes that imagenet-a maps, got '{synsets()[0]}' among"):
        open_set(str(root), classes="imagenet-a")


def test_imagenet_v2_is_read_by_number(tmp_path: Path) -> None:
    root = tree(tmp_path / "v2", {"0": 1, "10": 1, "2": 1})
    weights = right(tmp_path / "w.safetensors", {0: 0, 1: 10, 2: 2}, 1000)
    assert evaluated(tmp_path / "a", weights, root, classes="imagenet-v2")[0] == 1.0


def test_imagenet_real_takes_any_right_answer(tmp_path: Path) -> None:
    answers = real_labels()
    assert (answers[0], answers[1], answers[2]) == ((), (970, 795), (230, 231))
    for number in range(3):
        name = f"ILSVRC2012_val_{number + 1:08}.JPEG"
        (tmp_path / "val").mkdir(exist_ok=True)
        (tmp_path / "val" / name).write_bytes(encoded(number))
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "val.txt").write_text("".join(f"ILSVRC2012_val_{n + 1:08}.JPEG 65\n" for n in range(3)))
    weights = right(tmp_path / "w.safetensors", {0: 5, 1: 795, 2: 230}, 1000)
    value, said = evaluated(tmp_path / "a", weights, tmp_path, classes="imagenet-real")
    assert value == 1.0
    assert "1 images without a right answer in imagenet-real" in said
    metrics = set(Store(tmp_path / "a").read()["metric"])
    assert metrics == {"accuracy", "accuracy_top5", "calibration_error"}


def test_untrained_models_get_the_sets_own_classes(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 2, "dog": 2})
    report = Evaluation(ImageRequest(models=(MODEL,), dataset=str(root)), Store(tmp_path / "out")).run()
    assert not report.failures
    (key,) = report.keys
    assert Store(tmp_path / "out").metadata(key)["num_classes"] == 2
