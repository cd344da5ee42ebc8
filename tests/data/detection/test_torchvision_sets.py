"""Pascal VOC by torchvision's class, and data sets that are given as objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.datasets import CocoDetection, VOCDetection
from torchvision.ops import masks_to_boxes

from stmbench.data.detection.sets import open_detection_set
from stmbench.data.detection.torchvision_sets import detection_name_of
from stmbench.errors import ConfigError, InputError
from tests.data.builders import picture
from tests.data.detection.trees import write

OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox>
<xmax>{}</xmax><xmin>{}</xmin><ymin>{}</ymin><ymax>{}</ymax></bndbox><part><name>head</name></part></object>"""


def voc(root: Path, *, year: int = 2012, name: str = "person") -> Path:
    """VOCdevkit with two images, of one of which no objects can be read."""
    base = root / "VOCdevkit" / f"VOC{year}"
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (base / folder).mkdir(parents=True)
    for split in ("train", "val", "test"):
        (base / "ImageSets" / "Main" / f"{split}.txt").write_text("2008_000001\n2008_000002\n")
    objects = OBJECT.format("dog", 0, 20, 1, 1, 32) + OBJECT.format(name, 1, 30, 11, 5, 8)
    size = "<size><width>48</width><height>32</height><depth>3</depth></size>"
    (base / "Annotations" / "2008_000001.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (base / "Annotations" / "2008_000002.xml").write_text("<annotation>")
    for number in (1, 2):
        picture(number, (48, 32)).save(base / "JPEGImages" / f"2008_00000{number}.jpg")
    return root


def test_pascal_voc(tmp_path: Path) -> None:
    images = open_detection_set(f"torchvision:VOCDetection:{voc(tmp_path)}")
    assert (images.name, images.split, len(images), images.has_masks) == ("VOC2012", "val", 1, False)
    found, target = images.read(0)
    assert found.size == (48, 32)
    assert target["boxes"].tolist() == [[0, 0, 20, 32], [10, 4, 30, 8]]  # pixels 1 to 20 span 0 to 20
    assert [images.categories[label - 1] for label in target["labels"]] == ["dog", "person"]
    assert (target["iscrowd"].tolist(), target["area"].tolist()) == ([0, 1], [640, 80])
    assert len(images.categories) == 20
    assert images.damaged[0].startswith("2008_000002.xml: ParseError")
    assert images.title(0) == "2008_000001.jpg"
    assert open_detection_set(f"torchvision:VOCDetection:{tmp_path / 'VOCdevkit'}", split="train").split == "train"


def test_voc_objects_of_another_class(tmp_path: Path) -> None:
    images = open_detection_set(f"torchvision:VOCDetection:{voc(tmp_path, name='zebra')}")
    assert images.damaged[1] == "annotation 2008_000001.xml/1 of VOC2012: an unknown category (zebra)"
    with pytest.raises(InputError, match=r"at most 1 corrupt annotations \(--limit-corrupt\), got 2: 2008_000002"):
        open_detection_set(f"torchvision:VOCDetection:{tmp_path}", limit_corrupt=1)


def test_the_test_images_of_2007_have_objects(tmp_path: Path) -> None:
    assert open_detection_set(f"torchvision:VOCDetection:{voc(tmp_path, year=2007)}").split == "test"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision:Kitti:data", "expected torchvision:VOCDetection:ROOT"),
        ("torchvision:VOCDetection", "expected torchvision:VOCDetection:ROOT"),
        ("torchvision:VOCDetection:nowhere", "VOCdevkit/VOC2012 with ImageSets/Main, got none in 'nowhere'"),
        ("given:images-00000000", "a data set that is known here"),
    ],
)
def test_names_without_a_set(name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_detection_set(name)
    assert words in str(caught.value)


class Squares(torch.utils.data.Dataset[Any]):
    """Items as a tutorial makes them: an image as a tensor, boxes around the masks."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        image = torch.zeros(3, 24, 30)
        masks = torch.zeros(index, 24, 30, dtype=torch.uint8)
        for number in range(index):
            masks[number, 4 : 10 + number, 5:15] = 1
            image[:, masks[number] > 0] = 1.0
        corners = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
        boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(24, 30))
        target = {"boxes": boxes, "labels": torch.arange(1, index + 1), "masks": tv_tensors.Mask(masks)}
        changed = {key: change(target[key]) for key, change in self.changes.items()}
        return image, {key: value for key, value in {**target, **changed}.items() if value is not None}


def test_a_dataset_that_is_given() -> None:
    name = detection_name_of(Squares(), categories=["square", "oblong"], name="squares")
    images = open_detection_set(name)
    assert name == f"given:squares-{images.fingerprint()[:8]}"
    assert (images.name, len(images), images.categories) == ("squares", 3, ("square", "oblong"))
    found, target = images.read(2, masks=True)
    assert np.asarray(found).max() == 255
    assert target["boxes"].tolist() == [[5, 4, 15, 10], [5, 4, 15, 11]]
    assert (target["labels"].tolist(), target["area"].tolist()) == ([1, 2], [60, 70])
    assert torch.equal(target["masks"][1], Squares()[2][1]["masks"][1])
    assert len(images.read(0)[1]["labels"]) == 0
    assert images.annotated().tolist() == [False, True, True]
    again = detection_name_of(Squares(), name="squares")
    assert again != name  # the categories are part of what is hashed
    assert open_detection_set(again).categories == ("class 1", "class 2")
    with pytest.raises(ConfigError, match="the split 'test' of a set that is given"):
        open_detection_set(name, split="train")


def test_a_dataset_without_masks() -> None:
    images = open_detection_set(detection_name_of(Squares(masks=lambda masks: None)))
    assert not images.has_masks
    assert images.read(2)[1]["area"].tolist() == [60, 70]


def test_torchvisions_sets_as_objects(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    root = write(tmp_path / "coco")
    given = CocoDetection(root / "val2017", root / "annotations" / "instances_val2017.json")
    images = open_detection_set(detection_name_of(given, name="mine"))
    expected = open_detection_set(str(root))
    assert images.truth(range(3)) == expected.truth(range(3))
    assert images.image(1).tobytes() == expected.image(1).tobytes()
    dataset = VOCDetection(voc(tmp_path), year="2012", image_set="val")
    assert len(open_detection_set(detection_name_of(dataset, name="voc"))) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (5, "a data set of images with objects, got int"),
        ([], "1 to 50,000 images in memory, got 0"),
        ([(picture(0), 3)], 'an image and a dict with "boxes" and "labels", got tuple as item 0'),
        ([(picture(0), {"bbox": [], "labels": []})], "got the keys bbox, labels of item 0"),
        (Squares(labels=lambda labels: labels - 1), "whole labels from 1, since 0 is the background, got 0 in item 1"),
        (Squares(labels=lambda labels: labels[1:]), "1 boxes, 0 labels"),
        (Squares(masks=lambda masks: masks[..., 1:]), "a mask of (24, 30) for each object"),
        (
            Squares(boxes=lambda boxes: tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=(24, 30))),
            "boxes in XYXY",
        ),
    ],
)
def test_objects_that_are_refused(given: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        detection_name_of(given)
    assert words in str(caught.value)
    with pytest.raises(InputError, match=r"labels from 1 to 1, got 2"):
        detection_name_of(Squares(), categories=["square"])
