"""Selects the images of a set that are used: balanced over the classes, and drawn by a seed.

The first fifty images in folder order are a single class of ImageNet, and results on them are about that class only.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stmbench.data.image_set import ImageSet, Labels
from stmbench.errors import InputError


class Selectable(Protocol):
    """What a selection needs to know of a set, of labelled images or of images with objects."""

    @property
    def name(self) -> str:
        """In messages."""

    def __len__(self) -> int: ...

    def groups(self) -> Labels:
        """(len,) the groups that the selection is balanced over."""


def select_images(image_set: Selectable, num_images: int | None, seed: int) -> list[int]:
    """Indices of the images to use; if `num_images` is None all of them, in the order of the set.

    The classes take turns; their order, and the order of images within each class, are drawn by `seed`. Any prefix of
    the result is balanced to within one image per class, and a smaller selection is a prefix of a larger one.

    Raises:
        InputError: fewer images than requested, or a request for none.
    """
    available = len(image_set)
    if num_images is None:
        return list(range(available))
    if num_images < 1:
        raise InputError("a number of images >= 1", repr(num_images), "change --num-images")
    if num_images > available:
        remedy = f"lower --num-images to {available}, or leave it out"
        raise InputError(f"at least {num_images} images in {image_set.name}", f"{available}", remedy)
    return [int(index) for index in _in_turn(image_set, seed)[:num_images]]


def replacement_images(image_set: Selectable, num_images: int, seed: int) -> NDArray[np.int64]:
    """The images that `select_images` would take after the first `num_images`: replacements for corrupt ones."""
    return _in_turn(image_set, seed)[num_images:]


# image set -> seed and order of the last selection: a plan asks for those of many models and analyses in turn
_LAST: Final = weakref.WeakKeyDictionary["Selectable", tuple[int, NDArray[np.int64]]]()


def _in_turn(image_set: Selectable, seed: int) -> NDArray[np.int64]:
    """The indices of all images, with the classes taking turns; not to be written to."""
    if (last := _LAST.get(image_set)) is None or last[0] != seed:
        last = seed, _drawn_in_turn(image_set, seed)
        last[1].flags.writeable = False
        _LAST[image_set] = last
    return last[1]


def _drawn_in_turn(image_set: Selectable, seed: int) -> NDArray[np.int64]:
    available = len(image_set)
    random = np.random.default_rng(seed)
    order = random.permutation(available)
    _, groups = np.unique(image_set.groups(), return_inverse=True)
    groups = groups[order]
    groups = random.permutation(int(groups.max()) + 1)[groups]
    by_group = np.argsort(groups, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(groups[by_group])) + 1]
    sizes = np.diff(np.r_[starts, available])
    turn = np.empty(available, dtype=np.int64)  # an image's position within its group
    turn[by_group] = np.arange(available) - np.repeat(starts, sizes)
    return np.asarray(order[np.lexsort((groups, turn))], dtype=np.int64)


def require_labels(image_set: ImageSet, indices: Sequence[int], num_classes: int) -> None:
    """Check that the images have labels that a model with `num_classes` logits can predict.

    Raises:
        InputError: the set has no labels, or a label is outside of the model's range.
    """
    labels = image_set.labels()
    if labels is None:
        remedy = "use a folder for each class, meta/val.txt, --labels FILE.csv, or digits"
        raise InputError("images with labels", f"{image_set.name}, which has none", remedy)
    low, high = int(labels[list(indices)].min()), int(labels[list(indices)].max())
    if low < 0 or high >= num_classes:
        got = f"label {low if low < 0 else high} in {image_set.name}{_classes(image_set)}"
        remedy = "use a set that the model was made for, or name the model with its num_classes"
        raise InputError(f"labels from 0 to {num_classes - 1}, the model's", got, remedy)


def _classes(image_set: ImageSet) -> str:
    """The classes of the set, for a message."""
    if image_set.classes is None:
        return ""
    names = ", ".join(image_set.classes[:5]) + (", ..." if len(image_set.classes) > 5 else "")
    return f" with the classes {names}"
