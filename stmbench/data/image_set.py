"""The interface of an image set: numbered images, usually with labels; and the names of splits."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stmbench.errors import ConfigError

Labels = NDArray[np.int64]

TRAIN_SPLITS, HELD_OUT_SPLITS = ("train", "training"), ("test", "val", "validation", "valid")
KNOWN_SPLITS = (*TRAIN_SPLITS, *HELD_OUT_SPLITS)
# a split may have another name on disk: 'test' means any held-out data
_SPLIT_CANDIDATES = {"test": HELD_OUT_SPLITS, "val": ("val", "validation", "valid"), "train": TRAIN_SPLITS}


class ImageSet(abc.ABC):
    """Numbered images.

    `name` does not contain folders of this machine; `split` is the split that was opened; `embedded` sets are part of
    stmbench.

    Attributes:
        classes: the names of the labels; None if labels are class numbers of a model, or if there are none.
        outputs: the model output for each class, if there is a mapping (see `MappedSet`).
        model_classes: the number of classes of the models that the mapping is for, if it is known.
        answers: all correct labels of each image, if there can be several.
        remarks: sentences on what was skipped.
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
        """Image `index` in RGB, and its label. Thread-safe.

        Raises:
            ImageError: the image cannot be read.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that determines the set; cheap, so no image is opened."""

    @abc.abstractmethod
    def labels(self) -> Labels | None:
        """(len,) labels, without opening an image; None if the set has none."""

    @property
    def num_classes(self) -> int | None:
        """The number of class names, or the largest label plus one; None without labels."""
        if self.classes is not None:
            return len(self.classes)
        labels = self.labels()
        return None if labels is None or not len(labels) else int(labels.max()) + 1

    def groups(self) -> Labels:
        """(len,) the groups that a selection is balanced over: the classes, unless the set defines others."""
        labels = self.labels()
        return np.zeros(len(self), dtype=np.int64) if labels is None else labels

    def blocks(self) -> tuple[Labels, int] | None:
        """(len,) which images are read at once, by a number, and how many such blocks are kept; None: one by one."""
        return None

    def title(self, index: int) -> str:
        """The name of image `index` in messages."""
        return f"image {index} of {self.name}"

    @property
    def column(self) -> str:
        """The value of the table's `dataset` column: the name and the first 12 digits of the fingerprint."""
        return f"{self.name}:{self.fingerprint()[:12]}"


def digest(items: Iterable[object]) -> str:
    """SHA-256, in hex, of the items as text, in order."""
    sha = hashlib.sha256()
    for item in items:
        sha.update(f"{item}\0".encode("utf-8", "surrogateescape"))  # file names may not be UTF-8
    return sha.hexdigest()


def split_candidates(split: str) -> tuple[str, ...]:
    """The names under which a split may be stored, in order of preference."""
    return _SPLIT_CANDIDATES.get(split, (split,))


def find_split(split: str, available: Collection[str], where: str) -> str:
    """The name among `available` under which the split is stored. Raises ConfigError if there is none."""
    for name in split_candidates(split):
        if name in available:
            return name
    raise ConfigError(f"the split {split!r} in {where}", f"{', '.join(sorted(available))}", "change --split")
