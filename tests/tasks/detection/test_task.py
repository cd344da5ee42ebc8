"""Detectors are trained and judged by the same loop: resume, scores, sizes, weights of the trunk, and mistakes."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model
from stmbench.architectures.detectors.base import padded, resized_size, sides_of
from stmbench.architectures.feature_extractor import as_feature_extractor
from stmbench.checkpoints.loading import state_hash
from stmbench.data.detection.detection_set import DetectionSet
from stmbench.data.detection.sets import open_detection_set
from stmbench.errors import CheckpointError, ConfigError, UnitError
from stmbench.tasks.base import open_data, task_name
from stmbench.tasks.detection.detecting import Detected, Detecting, alike_batches
from stmbench.tasks.detection.task import Detection, scored
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.options import TrainOptions
from tests.tasks.detection.oracle import Oracle
from tests.tasks.detection.runs import BOXES, MASKS, RECIPE, SET, STEPS, settings, trained


def _detected(model: nn.Module, images: DetectionSet, batch: int = 4) -> Detected:
    indices = list(range(len(images)))
    return Detecting(images, indices, (64, 64), device=torch.device("cpu"), batch_size=batch).detect(model)


def test_true_boxes_have_an_average_precision_of_1() -> None:
    images = open_detection_set(SET, split="test")
    found = _detected(Oracle(images), images)
    assert found.seen == list(range(12))
    assert scored(images, found, masks=False)["bbox"].metrics["box_ap"] == 1.0
    moved = scored(images, _detected(Oracle(images, 3.0), images), masks=False)["bbox"].metrics["box_ap"]
    assert 0 < moved < 1


def test_detections_are_in_the_order_of_the_images_whatever_the_batches_are() -> None:
    images = open_detection_set(SET, split="test")
    assert _detected(Oracle(images), images, batch=1) == _detected(Oracle(images), images, batch=5)


def test_images_share_a_batch_where_they_are_padded_alike() -> None:
    sides = (800, 1333)
    sizes = [(480, 640), (640, 480), (427, 640), (480, 640), (480, 639)]
    assert [padded(*resized_size(size, sides)) for size in sizes[:3]] == [(800, 1088), (1088, 800), (800, 1216)]
    batches = alike_batches([(index, padded(*resized_size(size, sides))) for index, size in enumerate(sizes)], 2)
    assert batches == [[0, 3], [1], [2], [4]]


@pytest.mark.parametrize("model", [BOXES, MASKS])
def test_from_a_state_to_the_same_end(model: str) -> None:
    run, states = settings(model), dict[int, bytes]()

    def keep(made: Loop, _: str) -> None:
        file = io.BytesIO()
        torch.save(made.state(), file)
        states[len(made.record.losses)] = file.getvalue()

    whole = Loop(run, open_data(run), ProcessGroup(), keep=keep, tell=lambda *_: None)
    whole.run()
    assert whole.steps == 2 * STEPS
    again = Loop(run, open_data(run), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    again.restore(torch.load(io.BytesIO(states[STEPS]), weights_only=True))
    again.run()
    assert again.record.losses == whole.record.losses
    assert state_hash(again.result.state_dict()) == state_hash(whole.result.state_dict())
    assert [epoch.scores for epoch in again.record.epochs] == [epoch.scores for epoch in whole.record.epochs]
    metrics = ["box_ap", "box_ap50", "box_ap75", *(["mask_ap", "mask_ap50", "mask_ap75"] if model == MASKS else [])]
    assert [*whole.record.epochs[-1].scores] == metrics
    assert whole.record.epochs[0].low is None, "the last epoch alone has an interval"
    assert whole.record.epochs[-1].low is not None


def test_the_run_sets_classes_drop_path_and_size() -> None:
    run = settings(recipe=dataclasses.replace(RECIPE, shorter_sides=(48.0, 80.0)), resolution=(64, 96))
    task = Detection(run, open_data(run), ProcessGroup())
    model: Any = task.build()
    assert model.num_classes == 12
    assert sides_of(model) == (64, 96)
    task.prepare(model)
    assert task.size == (64, 96)
    assert model.transform.min_size == (*range(48, 81), 64)
    assert sides_of(model) == (64, 96), "an evaluation has one size"


def test_the_trunk_begins_with_the_weights_of_a_classification_model(tmp_path: Path) -> None:
    torch.manual_seed(1)
    backbone = create_model("unified_identity_nano", num_classes=7)
    save_file(backbone.state_dict(), tmp_path / "seven.safetensors", metadata={"source": "mine"})
    (run,) = TrainOptions(dataset=SET, backbone=tmp_path / "seven.safetensors").runs([BOXES])
    assert run.facts["backbone"].startswith("mine:")
    model: Any = Detection(run, open_data(run), ProcessGroup()).build()
    own = backbone.state_dict()
    for name, value in model.trunk.state_dict().items():
        assert torch.equal(value, own[name]), name
    torch.manual_seed(1)
    other = create_model("unified_dw_conv_nano", num_classes=7)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="expected"):
        TrainOptions(dataset=SET, backbone=tmp_path / "other.safetensors").runs([BOXES])


@pytest.mark.parametrize("place", ["", "teacher."])
def test_the_trunk_takes_weights_of_self_supervision_which_have_no_head(place: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    own = as_feature_extractor(create_model("unified_identity_nano")).state_dict()
    file = tmp_path / ("file.pth" if place else "file.safetensors")
    if place:  # as the authors of DINO save it
        torch.save({"teacher": {f"backbone.{name}": value for name, value in own.items()}, "student": {}}, file)
    else:
        save_file(own, file)
    (run,) = TrainOptions(dataset=SET, backbone=file).runs([BOXES])
    model: Any = Detection(run, open_data(run), ProcessGroup()).build()
    for name, value in model.trunk.state_dict().items():
        assert torch.equal(value, own[name]), name


def test_a_score_that_is_not_finite_ends_the_run() -> None:
    class Diverged(Oracle):
        def _of(self, image: Tensor) -> dict[str, Tensor]:
            return {
                name: value * torch.nan if name == "scores" else value for name, value in super()._of(image).items()
            }

    images = open_detection_set(SET, split="test")
    with pytest.raises(UnitError, match=r"scores of detections in .* are not finite"):
        _detected(Diverged(images), images)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    run = settings(recipe=dataclasses.replace(RECIPE, lr=1e30, clip_grad=None, warmup_epochs=0.0, ema=None))
    with pytest.raises(UnitError, match=r"not finite|is nan|is inf"):
        trained(run)


def test_annotations_that_were_edited_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / split / "1.png")

    def write(side: int) -> None:
        box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, side, side], "area": side**2, "iscrowd": 0}
        for split in ("train", "val"):
            content = {
                "images": [{"id": 1, "file_name": "1.png", "height": 64, "width": 64}],
                "annotations": [box],
                "categories": [{"id": 1, "name": "thing"}],
            }
            (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))

    run = settings(dataset=str(tmp_path), resolution=(64, 64))
    write(10)
    first = open_data(run)
    assert first.test.objects(0).boxes.tolist() == [[1, 1, 11, 11]]
    write(20)  # the folder's own time stays
    second = open_data(run)
    assert second.test.objects(0).boxes.tolist() == [[1, 1, 21, 21]]
    assert first.fingerprints != second.fingerprints


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "labels of whole images": ({"dataset": "digits"}, "detection set or a path to one"),
    "another number of classes": (
        {"model": "fasterrcnn:unified_identity_nano[num_classes=3]"},
        "the detector's 3 classes",
    ),
    "a recipe for whole images": (
        {"recipe": dataclasses.replace(RECIPE, mixup=0.8)},
        "a recipe for a detector, got mixup",
    ),
    "a mapping of classes": ({"classes": "imagenet-1k"}, "no --classes for a detector"),
    "too few images": ({"data_fraction": 0.01}, "images with objects to train on"),
}


@pytest.mark.parametrize(("changes", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError if "detection set" not in said else Exception, match=said):
        open_data(settings(**changes))


@pytest.mark.parametrize(
    ("model", "wanted"),
    [("unified_dw_conv_nano", "classification"), (BOXES, "detection"), ("timm:resnet18", "classification")],
)
def test_a_model_says_its_task(model: str, wanted: str) -> None:
    assert task_name(model) == wanted
