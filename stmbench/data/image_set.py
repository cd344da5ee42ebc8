"""What an image set is: numbered images, most of them with a label, and what else is known without opening one."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.int64]


class ImageSet(abc.ABC):
    """Numbered images.

    `name` has no folders of this machine in it; `split` is the one that was found; `embedded` says that the set is
    part of stmbench.

    Attributes:
        classes: the labels' names; None where labels are numbers of a model's classes, or where there are none.
        outputs: the model's output that stands for each class, where a mapping says so (see `MappedSet`).
        model_classes: how many classes a model of these outputs has, where the mapping says that.
        answers: image -> all labels that are right, where several are.
        remarks: sentences on what was passed over.
        damaged: what was lost before any image was read, such as the end of a shard; counted as corrupt images.
    """

    name: str
    split: str
    classes: tuple[str, ...] | None
    embedded: bool = False
    outputs: tuple[int, ...] | None = None
    model_classes: int | None = None
    answers: Sequence[tuple[int, ...]] | None = None
    remarks: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

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

    @property
    def num_classes(self) -> int | None:
        """Classes that the names say, or as many as the largest label needs; None without labels."""
        if self.classes is not None:
            return len(self.classes)
        labels = self.labels()
        return None if labels is None or not len(labels) else int(labels.max()) + 1

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
        found.update(f"{item}\0".encode("utf-8", "surrogateescape"))  # names of files may be no UTF-8
    return found.hexdigest()
