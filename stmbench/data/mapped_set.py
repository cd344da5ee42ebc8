"""A set whose classes are a subset of a model's outputs: relabelled, and evaluated on its own classes only."""

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
    """The images of another set with new labels: label i stands for output `outputs[i]`, in ascending order.

    The model's outputs for other classes are ignored.

    Args:
        inner: the other set.
        indices: the images of it that are kept.
        title: the title of the mapping, for the set's name.
        classes, labels, outputs, model_classes, answers: see `ImageSet`.
        remarks: in addition to those of the other set.
    """

    def __init__(
        self,
        inner: ImageSet,
        indices: Labels,
        *,
        title: str,
        classes: tuple[str, ...],
        labels: Labels,
        outputs: tuple[int, ...],
        model_classes: int | None,
        answers: Sequence[tuple[int, ...]] | None = None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self._inner, self._indices, self._labels = inner, indices, labels
        self.name, self.split = f"{inner.name}[classes={title}]", inner.split
        self.classes, self.outputs, self.answers = classes, outputs, answers
        self.model_classes = model_classes
        self.remarks, self.damaged = (*inner.remarks, *remarks), inner.damaged

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        return self._inner.read(int(self._indices[index]))[0], int(self._labels[index])

    def labels(self) -> Labels:
        """(len,) labels."""
        return self._labels

    def title(self, index: int) -> str:
        """The name of the image in the other set."""
        return self._inner.title(int(self._indices[index]))

    def fingerprint(self) -> str:
        """Hash of the other set's fingerprint and of the new labels."""
        answers = [] if self.answers is None else ["answers", *self.answers]
        return digest([self._inner.fingerprint(), *(self.outputs or ()), "labels", *self._labels.tolist(), *answers])


def mapped(inner: ImageSet, mapping: ClassMap) -> MappedSet:
    """The set with its labels mapped to outputs of a model.

    Raises:
        InputError: a set without labels, a class that is not in the mapping, or, for imagenet-real, images that are not
            from ImageNet's validation split.
    """
    if mapping.title == REAL:
        return _real(inner)
    labels = inner.labels()
    if labels is None:
        got = f"{inner.name}, which has none"
        raise InputError("images with labels, for --classes", got, "give labels with --labels, or leave it out")
    names = _names(inner, labels, mapping)
    output_of = {label: _output(name, mapping, names.values()) for label, name in names.items()}
    outputs = tuple(sorted(set(output_of.values())))
    ranks = {output: rank for rank, output in enumerate(outputs)}
    values, where = np.unique(labels, return_inverse=True)
    return MappedSet(
        inner,
        np.arange(len(inner)),
        title=mapping.title,
        classes=tuple(
            "+".join(names[label] for label in output_of if output_of[label] == output) for output in outputs
        ),
        labels=np.asarray([ranks[output_of[int(value)]] for value in values], dtype=np.int64)[where],
        outputs=outputs,
        model_classes=mapping.size,
    )


def _real(inner: ImageSet) -> MappedSet:
    """ImageNet's validation images, identified by name, with all correct labels; images without any are omitted."""
    known, answers, indices = real_labels(), list[tuple[int, ...]](), list[int]()
    for index in range(len(inner)):
        match = _VALIDATION.search(inner.title(index))
        if match is None or not 1 <= int(match[1]) <= len(known):
            got = f"{inner.title(index)!r} in {inner.name}"
            remedy = "keep the names ILSVRC2012_val_00000001.JPEG ..., or use --classes imagenet-1k"
            raise InputError("images of ImageNet's validation part, by name", got, remedy)
        if known[int(match[1]) - 1]:
            indices.append(index)
            answers.append(known[int(match[1]) - 1])
    if not indices:
        raise InputError(f"images with a right answer in {REAL}", f"none in {inner.name}", "use more of the set")
    lost = len(inner) - len(indices)
    return MappedSet(
        inner,
        np.asarray(indices),
        title=REAL,
        classes=synsets(),
        labels=np.asarray([right[0] for right in answers], dtype=np.int64),
        outputs=tuple(range(len(synsets()))),
        model_classes=len(synsets()),
        answers=answers,
        remarks=(f"left out of {inner.name}: {lost} images without a right answer in {REAL}",) if lost else (),
    )


def _names(inner: ImageSet, labels: Labels, mapping: ClassMap) -> dict[int, str]:
    """label -> class name; for numbered labels only those that occur."""
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
    output = mapping.find(name)
    if output is None:
        shown = f"{name!r} among {', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''}"
        raise InputError(f"classes that {mapping.title} maps", shown, "complete the mapping, or use another one")
    return output
