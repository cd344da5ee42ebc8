"""Sets in COCO's format: what is read, where it is looked for, and what is refused or left out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmbench.data.detection import coco_file
from stmbench.data.detection.run_lengths import counts_of, decoded
from stmbench.data.detection.sets import open_detection_set
from stmbench.errors import ConfigError, ImageError, InputError, MissingPackageError
from tests.data.builders import picture
from tests.data.detection.trees import COCO, coco, one, write


def test_targets_have_the_right_values(tmp_path: Path) -> None:
    images = open_detection_set(str(write(tmp_path / "coco")))
    assert (images.name, images.split, len(images), images.has_masks) == ("coco", "val", 3, True)
    assert (images.categories, images.category_ids) == (("car", "toothbrush"), (3, 90))
    assert [images.size(index) for index in range(3)] == [(32, 48), (40, 30), (36, 36)]
    assert [images.image_id(index) for index in range(3)] == [9, 25, 30]
    found, target = images.read(0, masks=True)
    assert (found.mode, found.size) == ("RGB", (48, 32))
    assert target["boxes"].tolist() == [[10.5, 4, 48, 12], [2, 0, 3, 32]]
    assert target["labels"].tolist() == [1, 2]
    assert target["iscrowd"].tolist() == [0, 1]
    assert target["area"].tolist() == [300, 32]
    crowd = np.zeros((32, 48))
    crowd[:, 2] = 1
    assert np.array_equal(target["masks"][1].numpy(), crowd)
    square = images.read(1, masks=True)[1]["masks"].numpy()
    assert square.sum() == 200
    assert square[0, 6:26, 4:14].all()
    empty = images.read(2, masks=True)[1]
    assert (empty["boxes"].shape, empty["masks"].shape, empty["image_id"]) == ((0, 4), (0, 36, 36), 30)
    assert images.annotated().tolist() == [True, True, False]
    assert images.labels_present().tolist() == [1, 2]
    assert images.title(1) == "000000000025.jpg"


@pytest.mark.filterwarnings("ignore:__array__")
def test_masks_are_those_of_pycocotools(tmp_path: Path) -> None:
    reference = pytest.importorskip("pycocotools.mask")
    random, content = np.random.default_rng(0), coco(annotations=[])
    for number in range(40):
        if number % 2:
            polygons = [random.uniform(0, 36, 2 * random.integers(3, 9)).round(2).tolist() for _ in range(2)]
            code: Any = polygons
            expected = reference.decode(reference.merge(reference.frPyObjects(polygons, 36, 36)))
        else:
            expected = np.asfortranarray(random.random((36, 36)) < random.random(), dtype=np.uint8)
            code = reference.encode(expected)
            code["counts"] = code["counts"].decode()
        entry = {"id": number, "image_id": 30, "category_id": 3, "bbox": [1, 1, 9, 9], "segmentation": code}
        content["annotations"].append({**entry, "expected": expected.tolist()})
    images = open_detection_set(str(write(tmp_path, content)))
    masks = images.read(2, masks=True)[1]["masks"].numpy()
    for annotation, mask in zip(content["annotations"], masks, strict=True):
        assert np.array_equal(mask, annotation["expected"])
    codes = [annotation["segmentation"] for annotation in images.truth([2])["annotations"]]
    for code, mask in zip(codes, masks, strict=True):
        assert np.array_equal(decoded(counts_of(code["counts"], (36, 36)), (36, 36)), mask)
    assert images.read(2)[1]["area"].tolist() == [81] * 40  # of the box, where the file has none


def test_the_truth_keeps_the_numbers_of_the_file(tmp_path: Path) -> None:
    truth = open_detection_set(str(write(tmp_path))).truth([1, 0])
    assert [image["id"] for image in truth["images"]] == [25, 9]
    assert truth["images"][1] == {"id": 9, "file_name": "000000000009.jpg", "height": 32, "width": 48}
    assert truth["categories"] == [{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}]
    kept = ("image_id", "category_id", "bbox", "area", "iscrowd")
    expected = [tuple(annotation[key] for key in kept) for annotation in COCO["annotations"]]
    assert [tuple(annotation[key] for key in kept) for annotation in truth["annotations"]] == expected
    assert [annotation["id"] for annotation in truth["annotations"]] == [1, 2, 3]
    assert json.loads(json.dumps(truth)) == truth
    assert "segmentation" not in open_detection_set(str(tmp_path)).truth([1], masks=False)["annotations"][0]


@pytest.mark.parametrize(
    ("file", "images", "opened", "name", "split"),
    [
        ("annotations/instances_val2017.json", "val2017", "", "coco", "val"),
        ("annotations/instances_val2017.json", "val2017", "annotations/instances_val2017.json", "coco", "val"),
        ("annotations/instances_val2017.json", "images/val2017", "", "coco", "val"),
        ("annotations/validation.json", "images", "", "coco", "validation"),
        ("annotations/test.json", "test", "", "coco", "test"),
        ("valid/_annotations.coco.json", "valid", "", "coco", "valid"),
        ("annotations/balls.json", "images", "annotations/balls.json", "balls", "all"),
        ("balls.json", "balls", "balls.json", "balls", "all"),
        ("balls.json", ".", "balls.json", "balls", "all"),
    ],
)
def test_where_files_and_images_are_found(
    tmp_path: Path, file: str, images: str, opened: str, name: str, split: str
) -> None:
    root = write(tmp_path / "coco", file=file)
    if images != "val2017":
        (root / images).mkdir(parents=True, exist_ok=True)
        for image in (root / "val2017").iterdir():
            image.rename(root / images / image.name)
    found = open_detection_set(str(root / opened))
    assert (found.name, found.split) == (name, split)
    assert found.remarks == ()
    assert found.image(2).getpixel((0, 0))[2] > 150


def _no(part: str) -> dict[str, Any]:
    return {key: value for key, value in COCO.items() if key != part}


def _image(**changes: Any) -> dict[str, Any]:
    return coco(images=[{**COCO["images"][0], **changes}, *COCO["images"][1:]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_no("categories"), "no list of categories in instances_val2017.json"),
        (_no("images"), "no list of images"),
        (_no("annotations"), "no list of annotations"),
        (coco(annotations={}), "no list of annotations"),
        ([], "no list of images and annotations and categories"),
        ("{'images': ", "expected annotations in JSON"),
        ("[" * 100_000, "expected annotations in JSON"),
        (coco(images=[]), "at least one image, got none"),
        (coco(categories=[]), "at least one category, got none"),
        (_image(id=25), "a different id for every image, got 25 more than once"),
        (_image(id="9"), "a whole id, a file_name"),
        (_image(width=None), "as image 0 of instances_val2017.json"),
        (_image(height=0), "a width and height from 1 to"),
        (_image(height=10**400), "a width and height from 1 to"),
        (_image(file_name=""), "a whole id, a file_name"),
        (coco(categories=[{"id": 3, "name": "car"}] * 2), "a different id for every category, got 3 more"),
        (coco(categories=[{"id": 3}]), "a whole id and a name for every category"),
        (coco(images=[{**image, "file_name": "x" + image["file_name"]} for image in COCO["images"]]), "no x0000"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_detection_set(str(write(tmp_path, content)))
    assert words in str(caught.value)
    assert str(caught.value).startswith("expected ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (one(image_id=10), "annotation 71 of instances_val2017.json: an unknown image (10)"),
        (one(category_id=1), "annotation 71 of instances_val2017.json: an unknown category (1)"),
        (one(id=6), "annotation 6 of instances_val2017.json: an id that an earlier one has (6)"),
        (one(bbox=[4, 6, 0, 20]), "a box of no area (0 x 20)"),
        (one(bbox=[4, 6, -3, 20]), "a box of no area (-3 x 20)"),
        (one(bbox=[4, 6, 29, 20]), "a box outside of its image (4, 6 to 33, 26 in 30 x 40)"),
        (one(bbox=[-1.5, 6, 1, 20]), "a box outside of its image"),
        (one(bbox=[4, 6, 10]), "no bbox of four numbers"),
        (one(bbox=[4, 6, 10, float("nan")]), "no bbox of four numbers"),
        (one(bbox=[4, 6, 10, 10**400]), "no bbox of four numbers"),
        (one(bbox=[4, 6, 10, True]), "no bbox of four numbers"),
        (one(bbox=None), "no bbox of four numbers"),
        (one(area=-1), "an area of -1"),
        (one(area=2000), "an area of 2000"),  # more than the image's
        (one(segmentation=[[4, 6, 14, 6]]), "a polygon of 2 points"),
        (one(segmentation=[[4, 6, 14, 6, 9]]), "a polygon that is no list of x, y, x, y, ..."),
        (one(segmentation=[[4, 6, 1e9, 6, 4, 9]]), "a polygon far outside of its image"),
        (one(segmentation={"size": [40, 31], "counts": [1240]}), "a mask of [40, 31] for an image of [40, 30]"),
        (one(segmentation={"size": [40, 30], "counts": [1100]}), "run lengths that do not make up a mask"),
        (one(segmentation={"size": [40, 30], "counts": [-1, 1201]}), "run lengths that do not make up a mask"),
        (one(segmentation={"size": [40, 30], "counts": "PPP"}), "run lengths that do not make up a mask"),
        (one(segmentation={"size": [40, 30], "counts": "\ud800"}), "run lengths that do not make up a mask"),
        (one(segmentation="polygon"), "neither polygons nor run lengths"),
    ],
)
def test_corrupt_annotations_are_named_and_counted(tmp_path: Path, content: Any, words: str) -> None:
    root = str(write(tmp_path, content))
    images = open_detection_set(root)
    assert len(images.damaged) == 1
    assert words in images.damaged[0]
    assert sum(len(images.objects(index)) for index in range(3)) == 2
    with pytest.raises(InputError, match=r"expected at most 0 corrupt annotations \(--limit-corrupt\), got 1: annot"):
        open_detection_set(root, limit_corrupt=0)


def test_what_is_no_object_is_corrupt_too(tmp_path: Path) -> None:
    images = open_detection_set(str(write(tmp_path, coco(annotations=[*COCO["annotations"], None]))))
    assert images.damaged == ("annotation 3 of instances_val2017.json: not an object",)


def test_images_that_are_missing_or_of_another_size(tmp_path: Path) -> None:
    root = write(tmp_path / "coco")
    (root / "val2017" / "000000000009.jpg").unlink()
    picture(0, (20, 40)).save(root / "val2017" / "000000000025.jpg")
    images = open_detection_set(str(root))
    assert images.remarks == ("coco: 1 of 3 image files are missing (000000000009.jpg)",)
    with pytest.raises(ImageError, match=r"000000000009\.jpg: No such file"):
        images.read(0)
    with pytest.raises(ImageError, match=r"000000000025\.jpg: 20x40 pixels, but 30x40 in the annotations"):
        images.read(1)


def test_without_segmentations_there_are_no_masks(tmp_path: Path) -> None:
    images = open_detection_set(str(write(tmp_path, one(segmentation=[]))))
    assert not images.has_masks
    assert "1 of 3 annotations have no segmentation" in images.remarks[0]
    assert "segmentation" not in images.truth([1])["annotations"][0]
    assert images.read(1)[1]["boxes"].tolist() == [[4, 6, 14, 26]]
    with pytest.raises(ConfigError, match="a set with a mask for every object"):
        images.read(1, masks=True)


def test_categories_of_one_name_are_told_apart(tmp_path: Path) -> None:
    twice = [{"id": 0, "name": "fish"}, {"id": 3, "name": "fish"}, {"id": 90, "name": "boat"}]
    images = open_detection_set(str(write(tmp_path, coco(categories=twice))))
    assert images.categories == ("fish (0)", "fish (3)", "boat")
    assert "several categories are called fish" in images.remarks[0]


@pytest.mark.parametrize(
    ("opened", "split", "kind", "words"),
    [
        ("", "train", ConfigError, "the split 'train' in coco, got val"),
        ("annotations/instances_val2017.json", "train", ConfigError, "instances_val2017.json, a single file, got val"),
        ("val2017", "test", InputError, "annotations/instances_val.json"),
    ],
)
def test_splits_that_are_not_there(tmp_path: Path, opened: str, split: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        open_detection_set(str(write(tmp_path / "coco") / opened), split=split)
    assert words in str(caught.value)


def test_two_files_for_a_split(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, file="annotations/instances_val2014.json")
    with pytest.raises(InputError, match=r"instances_val2014\.json, instances_val2017\.json; give the path of one"):
        open_detection_set(str(tmp_path))


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(write(tmp_path))
    parsed: list[int] = []
    loads: Callable[[bytes], Any] = json.loads
    monkeypatch.setattr(coco_file.json, "loads", lambda text: parsed.append(len(text)) or loads(text))
    first = open_detection_set(root)
    assert open_detection_set(root).fingerprint() == first.fingerprint()
    assert len(parsed) == 1
    write(tmp_path, one(category_id=3))
    changed = open_detection_set(root)
    assert len(parsed) == 2
    assert changed.fingerprint() != first.fingerprint()
    assert changed.read(1)[1]["labels"].tolist() == [1]


def test_polygons_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_detection_set(str(write(tmp_path)))
    monkeypatch.setitem(sys.modules, "faster_coco_eval.core", None)
    assert images.read(1)[1]["labels"].tolist() == [2]
    with pytest.raises(MissingPackageError, match=r"stmbench\[detection\]"):
        images.read(1, masks=True)
