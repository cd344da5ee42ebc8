"""`shapes` as a detection set: each picture has up to three figures of one class, with their boxes and masks."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stmbench.data.detection.detection_set import DetectionSet, Objects
from stmbench.data.image_set import Labels, digest
from stmbench.data.shapes.dataset import Shapes
from stmbench.data.shapes.outlines import CLASSES
from stmbench.data.shapes.scene import Scene
from stmbench.errors import ConfigError

VERSION = "shapes.detection.v1"  # increase it if any box or mask changes
COUNTS = {"train": 2_400, "val": 120, "test": 180}  # whole rounds through the classes
# so that the first few are easy to tell apart
UNLIKE = ("disc", "triangle", "cross", "crescent", "star", "corner", "ring", "heart", "arrow", "square", "half_disc",
          "pentagon")  # fmt: skip
KEPT_BYTES = 2**26  # of scenes: an image is asked for, and later on, where detections are scored, its objects


class DetectionShapes(DetectionSet):
    """The pictures of `Shapes`, whose arguments it takes, larger and fewer by default.

    `classes` leaves that many of the twelve classes, which are learned sooner; 0 is all. So are plain pictures.
    """

    embedded = True

    def __init__(
        self,
        *,
        split: str = "test",
        seed: int = 0,
        size: int = 128,
        count: int = 0,
        classes: int = 0,
        plain: int = 0,
    ) -> None:
        most = len(CLASSES)
        if not 0 <= classes <= most:
            raise ConfigError(f"a number of classes of shapes up to {most}", repr(classes), "write shapes[classes=3]")
        self.categories = tuple(name for name in CLASSES if name in UNLIKE[: classes or most])
        self.category_ids = tuple(range(1, len(self.categories) + 1))
        chosen = {"classes": classes if len(self.categories) < most else 0, "plain": plain}
        shown = ",".join(f"{option}={value}" for option, value in chosen.items() if value)
        self.name = f"shapes[{shown}]" if shown else "shapes"
        self.split, self._count = split, count or COUNTS.get(split, 1)
        rounds = -(-self._count // len(self.categories))
        self._shapes = Shapes(split=split, seed=seed, size=size, count=rounds * most, plain=plain)
        self._labels = tuple(CLASSES.index(name) for name in self.categories)
        self._scene = functools.lru_cache(maxsize=max(8, KEPT_BYTES // (5 * size**2)))(self._drawn)

    def __len__(self) -> int:
        return self._count

    def _drawn(self, index: int) -> Scene:
        """Pictures of the classes that are left, in turn, out of the rounds through all classes."""
        turn, label = divmod(index, len(self._labels))
        return self._shapes.scene(turn * len(CLASSES) + self._labels[label])

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
        return visible(self._scene(index), index % len(self._labels) + 1)

    def fingerprint(self) -> str:
        """Hash of what the pictures are functions of, and of what is said of them."""
        some = [self.categories] if len(self.categories) < len(CLASSES) else []
        return digest([VERSION, self._shapes.fingerprint(), *some])

    def labels_present(self) -> Labels:
        """See `DetectionSet.labels_present`."""
        return np.unique(self.groups()) + 1

    def annotated(self) -> NDArray[np.bool_]:
        """Every picture has a figure that no other one hides."""
        return np.ones(len(self), dtype=np.bool_)

    def groups(self) -> Labels:
        """(len,) the class of the figures."""
        return np.arange(len(self), dtype=np.int64) % len(self.categories)


def visible(scene: Scene, label: int) -> Objects:
    """The figures of a scene that are not wholly hidden, whose mask would be everything; all have this label."""
    seen = ~scene.masks.all((1, 2))
    masks, count = scene.masks[seen], int(seen.sum())
    return Objects(
        boxes=scene.boxes[seen],
        labels=np.full(count, label, dtype=np.int64),
        crowd=np.zeros(count, dtype=np.bool_),
        area=masks.sum((1, 2)).astype(np.float32),
        masks=lambda: masks,
    )
