"""`shapes` as a detection set: each picture has up to three figures of one class, with their boxes and masks."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stmbench.data.detection.detection_set import DetectionSet, Objects
from stmbench.data.image_set import Labels, digest
from stmbench.data.shapes.dataset import Shapes
from stmbench.data.shapes.scene import CLASSES, Scene

VERSION = "shapes.detection.v1"  # increase it if any box or mask changes
COUNTS = {"train": 1_200, "val": 240, "test": 240}  # whole rounds through the classes
KEPT = 64  # scenes, since an image and its objects are asked for one after the other


class DetectionShapes(DetectionSet):
    """The pictures of `Shapes`, whose arguments it takes, larger and fewer by default."""

    name = "shapes"
    categories: tuple[str, ...] = CLASSES
    category_ids: tuple[int, ...] = tuple(range(1, len(CLASSES) + 1))
    embedded = True

    def __init__(self, *, split: str = "test", seed: int = 0, size: int = 128, count: int = 0) -> None:
        self._shapes = Shapes(split=split, seed=seed, size=size, count=count or COUNTS.get(split, 1))
        self.split = split
        self._scene = functools.lru_cache(maxsize=KEPT)(self._shapes.scene)

    def __len__(self) -> int:
        return len(self._shapes)

    def size(self, index: int) -> tuple[int, int]:
        """See `DetectionSet.size`."""
        return self._shapes.size, self._shapes.size

    def image_id(self, index: int) -> int:
        """The number of the picture."""
        return index

    def image(self, index: int) -> Image.Image:
        """See `DetectionSet.image`."""
        return Image.fromarray(self._scene(index).image)

    def objects(self, index: int) -> Objects:
        """The figures of which a pixel can be seen; their area is that of the mask."""
        return visible(self._scene(index))

    def fingerprint(self) -> str:
        """Hash of what the pictures are functions of, and of what is said of them."""
        return digest([VERSION, self._shapes.fingerprint()])

    def labels_present(self) -> Labels:
        """See `DetectionSet.labels_present`."""
        return np.unique(self._shapes.labels()) + 1

    def annotated(self) -> NDArray[np.bool_]:
        """Every picture has a figure that no other one hides."""
        return np.ones(len(self), dtype=np.bool_)

    def groups(self) -> Labels:
        """(len,) the class of the figures."""
        return self._shapes.labels()


def visible(scene: Scene) -> Objects:
    """The figures of a scene that are not wholly hidden; the mask of one that is would be all of the picture."""
    seen = ~scene.masks.all((1, 2))
    masks, count = scene.masks[seen], int(seen.sum())
    return Objects(
        boxes=scene.boxes[seen],
        labels=np.full(count, scene.label + 1, dtype=np.int64),
        crowd=np.zeros(count, dtype=np.bool_),
        area=masks.sum((1, 2)).astype(np.float32),
        masks=lambda: masks,
    )
