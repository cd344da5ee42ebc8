"""`shapes` as an image set."""

from __future__ import annotations

import numpy as np
import PIL
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.shapes.outlines import CLASSES
from stmbench.data.shapes.scene import Scene, scene
from stmbench.errors import ConfigError

VERSION = "shapes.v1"  # raise it when any picture changes
SPLITS = ("train", "val", "test")
SMALLEST, LARGEST = 16, 1024
COUNTS = {"train": 12_000, "val": 1_200, "test": 1_200}


class Shapes(ImageSet):
    """Pictures of twelve classes of figures.

    Args:
        split: train, val or test; the indices of their pictures are those that leave 0, 1 and 2 when the number of
            the round through the classes is divided by three, so they never meet, however many are asked for.
        seed: of every picture.
        size: side in pixels.
        count: how many pictures.
    """

    name = "shapes"
    classes: tuple[str, ...] = CLASSES
    embedded = True

    def __init__(self, *, split: str = "test", seed: int = 0, size: int = 64, count: int = 0) -> None:
        check_split(split)
        if not SMALLEST <= size <= LARGEST:
            raise ConfigError(f"a size of shapes from {SMALLEST} to {LARGEST}", repr(size), "write shapes[size=64]")
        self.split, self.seed, self.size, self.count = split, seed, size, count or COUNTS[split]

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """The picture with its boxes and masks."""
        return scene(self.seed, self._place(index), self.size)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        found = self.scene(index)
        return Image.fromarray(found.image), found.label

    def labels(self) -> Labels:
        """(len,) labels: the classes in turn."""
        return np.arange(self.count, dtype=np.int64) % len(CLASSES)

    def fingerprint(self) -> str:
        """Of what the pictures are a function of; Pillow draws them, so its version counts."""
        return digest([VERSION, self.split, self.seed, self.size, PIL.__version__])

    def _place(self, index: int) -> int:
        return place(index, self.split, len(CLASSES))


def place(index: int, split: str, period: int) -> int:
    """The number of a split's picture among those of all splits: rounds of `period` pictures go to each in turn."""
    turn, rest = divmod(index, period)
    return (turn * len(SPLITS) + SPLITS.index(split)) * period + rest


def check_split(split: str) -> None:
    """Raises ConfigError for a split that shapes do not have."""
    if split not in SPLITS:
        raise ConfigError(f"a split of shapes ({', '.join(SPLITS)})", repr(split), "change --split")
