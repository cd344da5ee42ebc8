"""torchvision's detection sets, and any object like them: items (image, {"boxes", "labels", perhaps "masks"}).

`open_torchvision("torchvision:VOCDetection:ROOT")` reads Pascal VOC, as torchvision stores it below ROOT, without its
download. From Python, `detection_name_of(dataset)` returns `given:images-3fa9c1d2`, which `open_detection_set` takes
wherever the name of a set is; the digits are the start of a hash of pixels and objects.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from torchvision.datasets import CocoDetection, VisionDataset, VOCDetection, wrap_dataset_for_transforms_v2

from stmbench.data.detection.coco import CocoSet, within_limit
from stmbench.data.detection.coco_file import CocoFile, checked
from stmbench.data.detection.run_lengths import encoded
from stmbench.data.given_images import MOST, PREFIX, Pixels, picture_of
from stmbench.data.image_set import digest, find_split
from stmbench.errors import ConfigError, InputError

NAMED: Final = "torchvision:"
YEARS: Final = tuple(range(2012, 2006, -1))
VOC_CLASSES: Final = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LIMIT: Final = 10  # corrupt annotations of an object that is given


def open_torchvision(name: str, split: str, limit_corrupt: int) -> CocoSet:
    """The set behind torchvision:VOCDetection:ROOT, of the newest year below ROOT.

    Raises:
        InputError: another class than VOCDetection, or not one below ROOT. ConfigError: a split that is not there.
    """
    kind, _, root = name.removeprefix(NAMED).partition(":")
    if kind != "VOCDetection" or not root:
        remedy = "give COCO by its folder, and an object of another class from Python"
        raise InputError("torchvision:VOCDetection:ROOT", repr(name), remedy)
    folder = Path(root).expanduser().resolve()
    folder = folder.parent if folder.name == "VOCdevkit" else folder
    for year in YEARS:
        lists = folder / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Main"
        splits = [split for split in ("train", "val", "test") if (lists / f"{split}.txt").is_file()]
        if year != 2007 and "test" in splits:
            splits.remove("test")  # its objects were never published
        if splits:
            found = find_split(split, splits, f"VOC{year}")
            stamp = (lists / f"{found}.txt").stat().st_mtime_ns
            dataset, content = _voc_named(folder, year, found, stamp)
            return _voc_set(dataset, within_limit(content, limit_corrupt), found)
    raise InputError("VOCdevkit/VOC2012 with ImageSets/Main", f"none in {folder.name!r}", "unpack VOC there")


@functools.lru_cache(maxsize=4)
def _voc_named(folder: Path, year: int, split: str, changed_ns: int) -> tuple[VOCDetection, CocoFile]:
    dataset = VOCDetection(folder, year=str(year), image_set=split, download=False)
    return dataset, _voc_content(dataset)


def _voc_set(dataset: VOCDetection, content: CocoFile, split: str) -> CocoSet:
    return CocoSet(content, name=f"VOC{dataset.year}", split=split, images=Path(dataset.images[0]).parent)


def _voc_content(dataset: VOCDetection) -> CocoFile:
    """The files of objects, as COCO has them.

    VOC counts pixels from 1 and includes the last one, so the first pixel spans [0, 1] here. Difficult objects, which
    VOC does not score, are crowd. An image whose file cannot be read is left out.
    """
    images, annotations, damaged = list[dict[str, Any]](), list[dict[str, Any]](), list[str]()
    for image, target in zip(dataset.images, dataset.targets, strict=True):
        title = Path(target).name
        try:
            found = dataset.parse_voc_xml(ElementTree.parse(target).getroot())["annotation"]
            width, height = int(found["size"]["width"]), int(found["size"]["height"])
            objects = [_voc_object(item) for item in found["object"]]
        except (OSError, ElementTree.ParseError, KeyError, TypeError, ValueError) as error:
            damaged.append(f"{title}: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
            continue
        number = len(images)
        images.append({"id": number, "file_name": Path(image).name, "width": width, "height": height})
        for place, item in enumerate(objects):
            annotations.append({"id": f"{title}/{place}", "image_id": number, **item})
    return _content(images, annotations, VOC_CLASSES, f"VOC{dataset.year}", tuple(damaged))


def _voc_object(found: Mapping[str, Any]) -> dict[str, Any]:
    left, top, right, bottom = (float(found["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    name = found["name"]
    return {
        "category_id": VOC_CLASSES.index(name) + 1 if name in VOC_CLASSES else name,
        "bbox": [left - 1, top - 1, right - left + 1, bottom - top + 1],
        "iscrowd": int(found.get("difficult", 0)),
    }


class GivenObjects(CocoSet):
    """Pictures in memory, each (H, W, 3) uint8, and their objects; all of them are the split 'test'."""

    def __init__(self, pictures: Sequence[Pixels], content: CocoFile, *, name: str) -> None:
        super().__init__(content, name=name, split="test", images=None)
        self._pictures = pictures

    def image(self, index: int) -> Image.Image:
        """See `DetectionSet.image`."""
        return Image.fromarray(self._pictures[index])

    def title(self, index: int) -> str:
        """The image's number."""
        return f"image {index} of {self.name}"

    @functools.cached_property
    def _fingerprint(self) -> str:
        sha = hashlib.sha256()
        for picture in self._pictures:
            sha.update(f"{picture.shape}\0".encode())
            sha.update(np.ascontiguousarray(picture).data)
        return digest(["given.detection.v1", self._file.sha, sha.hexdigest()])


_GIVEN: dict[str, CocoSet] = {}


def detection_name_of(dataset: Any, *, categories: Sequence[str] | None = None, name: str = "images") -> str:
    """The name that stands for a data set of images with objects, in this process.

    Args:
        dataset: an object with a length, whose items are an image (PIL, a tensor (3, H, W) or an array (H, W, 3)) and
            a dict with boxes (n, 4) left, top, right, bottom in pixels, labels (n,) from 1, and perhaps masks
            (n, H, W) and iscrowd (n,). It is read once and kept in memory. Of torchvision's CocoDetection and
            VOCDetection the files are read, as they are needed and without the object's transforms.
        categories: names of the labels, from 1.
        name: what the table calls the set.

    Raises:
        InputError: anything else; no images, or too many; labels or boxes that do not fit.
    """
    opened: CocoSet
    if isinstance(dataset, CocoDetection):
        found = {part: dataset.coco.dataset.get(part, []) for part in ("images", "annotations", "categories")}
        content = within_limit(checked(found, name, _sha(found)), LIMIT)
        opened = CocoSet(content, name=name, split="test", images=Path(dataset.root).resolve())
    elif isinstance(dataset, VOCDetection):
        opened = _voc_set(dataset, within_limit(_voc_content(dataset), LIMIT), "test")
    else:
        opened = _given(dataset, categories, name)
    key = f"{PREFIX}{name}-{opened.fingerprint()[:8]}"
    _GIVEN[key] = opened
    return key


def open_given_objects(name: str, split: str) -> CocoSet:
    """The set behind a name of `detection_name_of`. Raises InputError where there is none, ConfigError for a split."""
    if name not in _GIVEN:
        remedy = "give the data set itself, from Python: it is known in the process that it was given in"
        raise InputError("a data set that is known here", repr(name), remedy)
    if split != "test":
        raise ConfigError("the split 'test' of a set that is given", repr(split), "give the images of that split")
    return _GIVEN[name]


def _given(dataset: Any, categories: Sequence[str] | None, name: str) -> GivenObjects:
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        remedy = "give an object with __len__ and __getitem__"
        raise InputError("a data set of images with objects", type(dataset).__name__, remedy)
    if not 1 <= len(dataset) <= MOST:
        raise InputError(f"1 to {MOST:,} images in memory", str(len(dataset)), "write larger sets in COCO's format")
    if isinstance(dataset, VisionDataset):
        with contextlib.suppress(TypeError):  # a class of the user's own
            dataset = wrap_dataset_for_transforms_v2(dataset)
    pictures, images, annotations, highest = list[Pixels](), list[dict[str, Any]](), list[dict[str, Any]](), 1
    for number in range(len(dataset)):
        item = dataset[number]
        if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[1], Mapping):
            expected, remedy = 'an image and a dict with "boxes" and "labels"', "return both from __getitem__"
            raise InputError(expected, f"{type(item).__name__} as item {number}", remedy)
        picture = picture_of(item[0], f"image {number}")
        height, width = picture.shape[:2]
        pictures.append(picture)
        images.append({"id": number, "file_name": str(number), "width": width, "height": height})
        for place, found in enumerate(_objects(item[1], number, (height, width))):
            highest = max(highest, found["category_id"])
            annotations.append({"id": f"{number}/{place}", "image_id": number, **found})
    if categories is not None and highest > len(categories):
        raise InputError(f"labels from 1 to {len(categories)}", str(highest), "correct the labels or the categories")
    names = categories or tuple(f"class {label}" for label in range(1, highest + 1))
    content = _content(images, annotations, tuple(map(str, names)), name, ())
    return GivenObjects(pictures, within_limit(content, LIMIT), name=name)


def _objects(target: Mapping[str, Any], number: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    """An image's objects as COCO's annotations."""
    for key in ("boxes", "labels"):
        if key not in target:
            got = f"the keys {', '.join(map(str, target))} of item {number}"
            raise InputError('"boxes" and "labels"', got, "rename them, or convert the target")
    if str(getattr(target["boxes"], "format", "XYXY")).rpartition(".")[2] != "XYXY":
        raise InputError("boxes in XYXY", f"{target['boxes'].format} in item {number}", "convert their format")
    labels = np.asarray(target["labels"]).reshape(-1)
    boxes = np.asarray(target["boxes"], dtype=np.float64).reshape(-1, 4)
    crowd = np.asarray(target.get("iscrowd", np.zeros(len(labels)))).reshape(-1)
    masks = np.asarray(target["masks"]) if "masks" in target else None
    if not len(boxes) == len(labels) == len(crowd) or (masks is not None and masks.shape != (len(labels), *size)):
        shapes = f"{len(boxes)} boxes, {len(labels)} labels" + ("" if masks is None else f", masks {masks.shape}")
        raise InputError(
            f"a box, a label and a mask of {size} for each object", f"{shapes} in item {number}", "correct"
        )
    if len(labels) and (labels.dtype.kind not in "iu" or labels.min() < 1):
        got = f"{labels.min()} in item {number}"
        raise InputError("whole labels from 1, since 0 is the background", got, "add 1 to the labels")
    found = []
    for place, (left, top, right, bottom) in enumerate(boxes.tolist()):
        annotation = {
            "category_id": int(labels[place]),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": int(crowd[place]),
        }
        if masks is not None:
            mask = masks[place] > 0
            annotation |= {"segmentation": encoded(mask), "area": int(mask.sum())}
        found.append(annotation)
    return found


def _content(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: Sequence[str], name: str,
    damaged: tuple[str, ...],
) -> CocoFile:  # fmt: skip
    numbered = [{"id": number, "name": category} for number, category in enumerate(categories, 1)]
    found = {"images": images, "annotations": annotations, "categories": numbered}
    content = checked(found, name, _sha(found))
    return dataclasses.replace(content, damaged=(*damaged, *content.damaged))


def _sha(found: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
