"""What an image set is: numbered images, most of them with a label, and what else is known without opening one."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.int64]


class ImageSet(abc.ABC):
    """Numbered images.

    `name` has no folders of this machine in it; `split` is the one that was found; `classes` are the labels' names,
    None where there are no labels; `embedded` says that the set is part of stmbench, so that a model without trained
    weights may be built with its number of classes.
    """

    name: str
    split: str
    classes: tuple[str, ...] | None
    embedded: bool = False

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """Image `index` in RGB, and its label. Safe to call from several threads.

        Raises:
            ImageError: the image cannot be read.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what the set is a function of; cheap, so no image is opened for it."""

    @abc.abstractmethod
    def labels(self) -> Labels | None:
        """(len,) labels, without opening an image; None where the set has none."""

    def groups(self) -> Labels:
        """(len,) what a sample is to be balanced over: the classes, unless the set knows better."""
        labels = self.labels()
        return np.zeros(len(self), dtype=np.int64) if labels is None else labels

    def title(self, index: int) -> str:
        """What to call image `index` in a message."""
        return f"image {index} of {self.name}"

    @property
    def column(self) -> str:
        """The table's `dataset`: name and the first 12 digits of the fingerprint."""
        return f"{self.name}:{self.fingerprint()[:12]}"


def digest(items: Iterable[object]) -> str:
    """SHA-256, in hex, of the items' texts in order."""
    found = hashlib.sha256()
    for item in items:
        found.update(f"{item}\0".encode())
    return found.hexdigest()
