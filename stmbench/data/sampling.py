"""Which images of a set are used: as many of each class as there are of any other, drawn by a seed.

Fifty images in folder order are one class of ImageNet; what they say, they say about that class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stmbench.data.image_set import ImageSet
from stmbench.errors import InputError


def choose(image_set: ImageSet, num_images: int | None, seed: int) -> list[int]:
    """Numbers of the images to use; all of them, in the set's order, for None.

    Class by class in turn, each class in an order drawn by `seed`, and so is the order of the classes: any first part
    of the result is balanced too, to within one image of a class, and a smaller choice is part of a larger one.

    Raises:
        InputError: fewer images than asked for, or none asked for.
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


def spares(image_set: ImageSet, num_images: int, seed: int) -> NDArray[np.int64]:
    """The images that `choose` would take after the first `num_images`: what a broken one can be replaced by."""
    return _in_turn(image_set, seed)[num_images:]


def _in_turn(image_set: ImageSet, seed: int) -> NDArray[np.int64]:
    """All images of a set, class by class in turn."""
    available = len(image_set)
    random = np.random.default_rng(seed)
    order = random.permutation(available)
    _, groups = np.unique(image_set.groups()[order], return_inverse=True)
    groups = random.permutation(int(groups.max()) + 1)[groups]
    by_group = np.argsort(groups, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(groups[by_group])) + 1]
    sizes = np.diff(np.r_[starts, available])
    turn = np.empty(available, dtype=np.int64)  # the how-manieth of its group an image is
    turn[by_group] = np.arange(available) - np.repeat(starts, sizes)
    return np.asarray(order[np.lexsort((groups, turn))], dtype=np.int64)


def require_labels(image_set: ImageSet, indices: Sequence[int], num_classes: int) -> None:
    """Whether the images have labels that a model with `num_classes` logits can give.

    Raises:
        InputError: a set without labels, or a label outside of the model's range.
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
    """The classes that were found, for a message."""
    if image_set.classes is None:
        return ""
    names = ", ".join(image_set.classes[:5]) + (", ..." if len(image_set.classes) > 5 else "")
    return f" with the classes {names}"
