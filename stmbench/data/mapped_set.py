"""A set whose classes stand for outputs of a model that has others too: relabelled, and judged on its own classes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from stmbench.data.class_maps import REAL, ClassMap, real_labels, synsets
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import InputError

_VALIDATION = re.compile(r"ILSVRC2012_val_([0-9]{8})\.[A-Za-z]+$")


class MappedSet(ImageSet):
    """Another set's images. Label i is the class whose output is `outputs[i]`; outputs are in ascending order.

    Classes are those of the set, so the model's other outputs are left out.

    Args:
        inner: the other set; `places`: the numbers of its images that are kept.
        title: of the mapping, for the set's name.
        classes, labels, outputs, model_classes, answers: see `ImageSet`.
        remarks: beside those of the other set.
    """

    def __init__(
        self,
        inner: ImageSet,
        places: Labels,
        *,
        title: str,
        classes: tuple[str, ...],
        labels: Labels,
        outputs: tuple[int, ...],
        model_classes: int | None,
        answers: Sequence[tuple[int, ...]] | None = None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self._inner, self._places, self._labels = inner, places, labels
        self.name, self.split = f"{inner.name}[classes={title}]", inner.split
        self.classes, self.outputs, self.answers = classes, outputs, answers
        self.model_classes = model_classes
        self.remarks, self.damaged = (*inner.remarks, *remarks), inner.damaged

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        return self._inner.read(int(self._places[index]))[0], int(self._labels[index])

    def labels(self) -> Labels:
        """(len,) labels."""
        return self._labels

    def title(self, index: int) -> str:
        """The image's name in the other set."""
        return self._inner.title(int(self._places[index]))

    def fingerprint(self) -> str:
        """Of the other set and of what its labels have become."""
        answers = [] if self.answers is None else ["answers", *self.answers]
        return digest([self._inner.fingerprint(), *(self.outputs or ()), "labels", *self._labels.tolist(), *answers])


def mapped(inner: ImageSet, mapping: ClassMap) -> MappedSet:
    """The set with the labels that a mapping gives it.

    Raises:
        InputError: a set without labels, a class that the mapping does not have, or, for imagenet-real, images that are
            not ImageNet's.
    """
    if mapping.title == REAL:
        return _real(inner)
    labels = inner.labels()
    if labels is None:
        got = f"{inner.name}, which has none"
        raise InputError("images with labels, for --classes", got, "give labels with --labels, or leave it out")
    names = _names(inner, labels, mapping)
    found = {label: _output(name, mapping, names.values()) for label, name in names.items()}
    outputs = tuple(sorted(set(found.values())))
    ranks = {output: rank for rank, output in enumerate(outputs)}
    values, where = np.unique(labels, return_inverse=True)
    return MappedSet(
        inner,
        np.arange(len(inner)),
        title=mapping.title,
        classes=tuple("+".join(names[label] for label in found if found[label] == output) for output in outputs),
        labels=np.asarray([ranks[found[int(value)]] for value in values], dtype=np.int64)[where],
        outputs=outputs,
        model_classes=mapping.size,
    )


def _real(inner: ImageSet) -> MappedSet:
    """ImageNet's validation images, known by name, with all their right answers; those that have none are left out."""
    known, answers, places = real_labels(), list[tuple[int, ...]](), list[int]()
    for place in range(len(inner)):
        match = _VALIDATION.search(inner.title(place))
        if match is None or not 1 <= int(match[1]) <= len(known):
            got = f"{inner.title(place)!r} in {inner.name}"
            remedy = "keep the names ILSVRC2012_val_00000001.JPEG ..., or use --classes imagenet-1k"
            raise InputError("images of ImageNet's validation part, by name", got, remedy)
        if known[int(match[1]) - 1]:
            places.append(place)
            answers.append(known[int(match[1]) - 1])
    if not places:
        raise InputError(f"images with a right answer in {REAL}", f"none in {inner.name}", "use more of the set")
    lost = len(inner) - len(places)
    return MappedSet(
        inner,
        np.asarray(places),
        title=REAL,
        classes=synsets(),
        labels=np.asarray([right[0] for right in answers], dtype=np.int64),
        outputs=tuple(range(len(synsets()))),
        model_classes=len(synsets()),
        answers=answers,
        remarks=(f"left out of {inner.name}: {lost} images without a right answer in {REAL}",) if lost else (),
    )


def _names(inner: ImageSet, labels: Labels, mapping: ClassMap) -> dict[int, str]:
    """label -> name of its class; of numbered labels those that occur."""
    if inner.classes is not None:
        return dict(enumerate(inner.classes))
    numbers = [int(number) for number in np.unique(labels)]
    if mapping.names is None:
        return {number: str(number) for number in numbers}
    if numbers[-1] >= len(mapping.names):
        got = f"label {numbers[-1]} in {inner.name}"
        raise InputError(f"labels below {len(mapping.names)}, for {mapping.title}", got, "use another mapping")
    return {number: mapping.names[number] for number in numbers}


def _output(name: str, mapping: ClassMap, names: Collection[str]) -> int:
    found = mapping.find(name)
    if found is None:
        shown = f"{name!r} among {', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''}"
        raise InputError(f"classes that {mapping.title} maps", shown, "complete the mapping, or use another one")
    return found
