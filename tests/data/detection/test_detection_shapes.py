"""The embedded pictures as a detection set: tight boxes, masks, and the same objects as COCO has them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torchvision.ops import masks_to_boxes

from stmbench.data.detection.sets import open_detection_set
from stmbench.data.detection.shapes import COUNTS, DetectionShapes, visible
from stmbench.data.image_selection import select_images
from stmbench.data.shapes.outlines import CLASSES
from stmbench.data.shapes.scene import scene
from stmbench.errors import ConfigError, InputError, UnknownNameError


def decoded(code: dict[str, list[int]]) -> np.ndarray:
    """The mask of a run-length code, drawn run by run."""
    height, width = code["size"]
    pixels, value = [], 0
    for count in code["counts"]:
        pixels += [value] * count
        value = 1 - value
    return np.array(pixels).reshape(width, height).T


def test_an_item_is_torchvisions_target() -> None:
    images = open_detection_set("shapes[count=40]")
    picture, target = images.read(14, masks=True)
    assert (picture.mode, picture.size, images.size(14)) == ("RGB", (128, 128), (128, 128))
    count = len(target["labels"])
    assert target["labels"].tolist() == [14 % 12 + 1] * count
    assert (target["boxes"].dtype, target["labels"].dtype, target["area"].dtype) == (
        torch.float32,
        torch.int64,
        torch.float32,
    )
    assert target["masks"].shape == (count, 128, 128)
    assert target["masks"].dtype == torch.uint8
    assert target["iscrowd"].tolist() == [0] * count
    assert (target["image_id"], images.image_id(14)) == (14, 14)
    assert "masks" not in images.read(14)[1]


def test_boxes_are_tight_and_areas_those_of_the_masks() -> None:
    images, number = open_detection_set("shapes[count=48]", split="train"), 0
    for index in range(48):
        target = images.read(index, masks=True)[1]
        tight = masks_to_boxes(target["masks"]) + torch.tensor([0, 0, 1, 1])  # its boxes end on the last pixel
        assert torch.equal(target["boxes"], tight)
        assert torch.equal(target["area"], target["masks"].sum((1, 2)).float())
        number += len(target["labels"])
    assert number > 48  # more than one in some


def test_a_figure_that_is_wholly_hidden_is_left_out() -> None:
    drawn = next(picture for picture in (scene(0, index, 64) for index in range(48)) if len(picture.masks) == 3)
    masks = drawn.masks.copy()
    masks[1] = True  # what the drawing makes of a figure without a visible pixel
    kept = visible(dataclasses.replace(drawn, masks=masks), drawn.label + 1)
    assert kept.boxes.tolist() == drawn.boxes[[0, 2]].tolist()
    assert len(kept) == 2


def test_the_truth_holds_the_same_objects() -> None:
    images = open_detection_set("shapes[count=30,size=64]")
    chosen = [21, 3, 8]
    truth = images.truth(chosen)
    assert [image["id"] for image in truth["images"]] == chosen
    assert truth["images"][0] == {"id": 21, "file_name": "image 21 of shapes", "height": 64, "width": 64}
    assert truth["categories"][11] == {"id": 12, "name": CLASSES[11]}
    assert [annotation["id"] for annotation in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    for index in chosen:
        target = images.read(index, masks=True)[1]
        mine = [annotation for annotation in truth["annotations"] if annotation["image_id"] == index]
        assert [annotation["category_id"] for annotation in mine] == target["labels"].tolist()
        for annotation, box, area, mask in zip(mine, target["boxes"], target["area"], target["masks"], strict=True):
            left, top, width, height = annotation["bbox"]
            assert [left, top, left + width, top + height] == box.tolist()
            assert (annotation["area"], annotation["iscrowd"]) == (float(area), 0)
            assert np.array_equal(decoded(annotation["segmentation"]), mask.numpy())
    assert "segmentation" not in images.truth(chosen, masks=False)["annotations"][0]


def test_splits_are_disjoint_and_named_in_the_column() -> None:
    sets = {split: open_detection_set("shapes", split=split) for split in COUNTS}
    assert {split: len(images) for split, images in sets.items()} == COUNTS
    assert len({images.column for images in sets.values()}) == 3
    assert sets["test"].column.startswith("shapes:")
    assert len(sets["test"].column) == len("shapes:") + 12
    assert sets["val"].image(0).tobytes() != sets["test"].image(0).tobytes()
    assert open_detection_set("shapes", seed=1).fingerprint() != sets["test"].fingerprint()


def test_a_selection_is_balanced_over_the_classes() -> None:
    images = open_detection_set("shapes[count=120]")
    chosen = select_images(images, 24, seed=0)
    assert np.bincount(images.groups()[chosen]).tolist() == [2] * 12
    assert images.labels_present().tolist() == list(range(1, 13))
    assert open_detection_set("shapes[count=3]").labels_present().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "split", "kind", "words"),
    [
        ("shape", "test", UnknownNameError, "did you mean shapes"),
        ("coco/val", "test", InputError, "where there is nothing"),
        ("shapes[relation=same]", "test", UnknownNameError, "an option of shapes for detection"),
        ("shapes[size=big]", "test", ConfigError, "write shapes\\[size=128\\]"),
        ("shapes[size=8]", "test", ConfigError, "a size of shapes from 16"),
        ("shapes", "holdout", ConfigError, "a split of shapes"),
    ],
)
def test_what_cannot_be_opened(name: str, split: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        open_detection_set(name, split=split)


def test_some_of_the_classes_are_pictures_of_all_of_them() -> None:
    few, every = (
        DetectionShapes(split="val", size=32, classes=3, count=7),
        DetectionShapes(split="val", size=32, count=36),
    )
    assert few.categories == ("disc", "triangle", "cross")
    assert (few.name, len(few)) == ("shapes[classes=3]", 7)
    assert few.fingerprint() != every.fingerprint()
    for index, place in enumerate((0, 4, 8, 12, 16, 20, 24)):  # in each round through twelve classes
        assert every.categories[place % 12] == few.categories[index % 3]
        assert np.array_equal(np.array(few.image(index)), np.array(every.image(place)))
        assert set(few.objects(index).labels.tolist()) == {index % 3 + 1}
        assert np.array_equal(few.objects(index).boxes, every.objects(place).boxes)
    assert few.labels_present().tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match="a number of classes of shapes up to 12, got 13"):
        DetectionShapes(classes=13)


def test_plain_pictures_and_fewer_classes_are_in_the_name() -> None:
    images = open_detection_set("shapes[plain=1,classes=3,count=6]")
    assert images.name == "shapes[classes=3,plain=1]"
    expected = scene(0, 2 * len(CLASSES), 128, plain=True)  # the first turn of the test split
    assert np.array_equal(np.asarray(images.image(0)), expected.image)
    assert images.read(0)[1]["boxes"].tolist() == expected.boxes.tolist()
    assert open_detection_set("shapes[classes=3,count=6]").fingerprint() != images.fingerprint()
    with pytest.raises(ConfigError, match="plain"):
        open_detection_set("shapes[plain=2]")
