"""The interface of a detection set: numbered images with boxes, classes and perhaps masks of the objects in them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stmbench.data.detection.run_lengths import encoded
from stmbench.data.image_set import Labels
from stmbench.errors import ConfigError

Target = dict[str, Any]
Masks = NDArray[np.bool_]  # (n, H, W)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """The n objects of one image.

    `boxes` (n, 4) float32 left, top, right, bottom in pixels; `labels` (n,) int64 from 1; `crowd` (n,) bool, whether it
    is a region of uncounted objects; `area` (n,) float32 in pixels, which decides between small, medium and large;
    `masks` gives (n, H, W) bool, None for a set without masks.
    """

    boxes: NDArray[np.float32]
    labels: Labels
    crowd: NDArray[np.bool_]
    area: NDArray[np.float32]
    masks: Callable[[], Masks] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class DetectionSet(abc.ABC):
    """Numbered images with objects.

    `name` does not contain folders of this machine; `split` is the split that was opened; `embedded` sets are part of
    stmbench.

    Attributes:
        categories: the names of the classes; label k, from 1, is categories[k - 1].
        category_ids: the numbers of the classes in `truth`, in the same order.
        has_masks: whether every object has a mask.
        remarks: sentences on what was skipped.
        damaged: annotations that were left out because they are corrupt, one sentence each.
    """

    name: str
    split: str
    categories: tuple[str, ...]
    category_ids: tuple[int, ...]
    has_masks: bool = True
    embedded: bool = False
    remarks: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of image `index`, without decoding it."""

    @abc.abstractmethod
    def image_id(self, index: int) -> int:
        """The number of image `index` in `truth` and in detections."""

    @abc.abstractmethod
    def image(self, index: int) -> Image.Image:
        """Image `index` in RGB. Thread-safe.

        Raises:
            ImageError: the image cannot be read, or has another size than the annotations say.
        """

    @abc.abstractmethod
    def objects(self, index: int) -> Objects:
        """The objects of image `index`, without decoding it."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that determines the set; cheap, so no image is opened."""

    def read(self, index: int, masks: bool = False) -> tuple[Image.Image, Target]:
        """Image `index` in RGB, and torchvision's target. Thread-safe.

        Returns:
            The image; boxes (n, 4) float32 left, top, right, bottom, labels (n,) int64 from 1, iscrowd (n,) int64,
            area (n,) float32, image_id, and where `masks` are wanted, masks (n, H, W) uint8.

        Raises:
            ImageError: see `image`. ConfigError: masks of a set without.
        """
        return self.image(index), target_of(self.objects(index), self.image_id(index), masks, self.name)

    def truth(self, indices: Sequence[int], *, masks: bool | None = None) -> dict[str, Any]:
        """The objects of these images as COCO has them: images, annotations (numbered from 1) and categories.

        `masks` leaves the segmentations, run-length codes, in or out; None is whatever the set has.
        """
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        with_masks = self.has_masks if masks is None else masks
        for index in indices:
            image, (height, width) = self.image_id(index), self.size(index)
            images.append({"id": image, "file_name": self.title(index), "height": height, "width": width})
            for annotation in self.annotations(index, with_masks):
                annotations.append({"id": len(annotations) + 1, "image_id": image, **annotation})
        numbered = zip(self.category_ids, self.categories, strict=True)
        categories = [{"id": number, "name": name} for number, name in numbered]
        return {"images": images, "annotations": annotations, "categories": categories}

    def annotations(self, index: int, masks: bool) -> list[dict[str, Any]]:
        """category_id, bbox, area, iscrowd and segmentation of each object of an image. See `truth`."""
        objects = self.objects(index)
        drawn = _masks(objects, self.name) if masks else None
        found = []
        for number, (left, top, right, bottom) in enumerate(objects.boxes.tolist()):
            annotation = {
                "category_id": self.category_ids[int(objects.labels[number]) - 1],
                "bbox": [left, top, right - left, bottom - top],
                "area": float(objects.area[number]),
                "iscrowd": int(objects.crowd[number]),
            }
            found.append(annotation if drawn is None else {**annotation, "segmentation": encoded(drawn[number])})
        return found

    @abc.abstractmethod
    def labels_present(self) -> Labels:
        """The labels that some object of the set has, in order."""

    @abc.abstractmethod
    def annotated(self) -> NDArray[np.bool_]:
        """(len,) whether an image has an object that is no crowd, and so can be trained on."""

    def groups(self) -> Labels:
        """(len,) the groups that a selection is balanced over; one, since an image shows objects of several classes."""
        return np.zeros(len(self), dtype=np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        """The categories, by the name that image sets have for them."""
        return self.categories

    def title(self, index: int) -> str:
        """The name of image `index` in messages."""
        return f"image {index} of {self.name}"

    @property
    def column(self) -> str:
        """The value of the table's `dataset` column: the name and the first 12 digits of the fingerprint."""
        return f"{self.name}:{self.fingerprint()[:12]}"


def target_of(objects: Objects, image_id: int, masks: bool, name: str) -> Target:
    """torchvision's target, see `DetectionSet.read`. Raises ConfigError for masks of a set without."""
    target: Target = {
        "boxes": torch.from_numpy(objects.boxes.copy()),
        "labels": torch.from_numpy(objects.labels.copy()),
        "iscrowd": torch.from_numpy(objects.crowd.astype(np.int64)),
        "area": torch.from_numpy(objects.area.copy()),
        "image_id": image_id,
    }
    if masks:
        target["masks"] = torch.from_numpy(_masks(objects, name).astype(np.uint8))
    return target


def _masks(objects: Objects, name: str) -> Masks:
    if objects.masks is None:
        remedy = "take a detector of boxes (fasterrcnn, retinanet, ...), or another set"
        raise ConfigError("a set with a mask for every object", f"{name}, which has none", remedy)
    return objects.masks()
