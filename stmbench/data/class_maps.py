"""Maps classes of a set to outputs of a model, and relabels the set, which is evaluated on its own classes only.

A map comes from a file, or, for ImageNet's subsets, from timm's lists.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pkgutil
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.label_files import parse_label, read_table, read_text
from stmbench.errors import ConfigError, InputError, UnknownNameError

REAL = "imagenet-real"
IMAGENET = ("imagenet-1k", "imagenet-a", "imagenet-r", REAL, "imagenet-v2")
NUMBERS = "numbers"
WORDS = (*IMAGENET, NUMBERS)
SYNSET = re.compile(r"n[0-9]{8}")
_VALIDATION = re.compile(r"ILSVRC2012_val_([0-9]{8})\.[A-Za-z]+$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassMap:
    """`find` returns the output for a class name, or None for unknown names. `title` becomes part of the set's name.

    `names` are the classes in the order of numbered labels; None if a number is treated as a name. `size` is the number
    of outputs of the models that the map is for; None for any number.
    """

    title: str
    find: Callable[[str], int | None]
    names: tuple[str, ...] | None = None
    size: int | None = None


def class_map(text: str) -> ClassMap:
    """The map for one of `WORDS`, or from a CSV or JSON file.

    Raises:
        InputError: no such word or file, or an empty map.
    """
    if text == NUMBERS:
        return ClassMap(title=NUMBERS, find=_number)
    if text in IMAGENET:
        return _imagenet(text)
    file = Path(text).expanduser()
    if not file.exists() and not re.search(r"[/\\.]", text):
        raise UnknownNameError("word or file for --classes", text, WORDS)
    table = _json(file) if file.suffix.lower() == ".json" else _csv(file)
    return ClassMap(title=file.name, find=table.get)


def synsets() -> tuple[str, ...]:
    """The 1,000 synsets of ImageNet-1k in the order of the model outputs."""
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())  # type: ignore[no-untyped-call]


@functools.cache
def real_labels() -> tuple[tuple[int, ...], ...]:
    """All correct labels of each of the 50,000 validation images (Beyer et al. 2020); some images have none."""
    return tuple(tuple(answers) for answers in json.loads(_packaged("imagenet_real_labels.json")))


def _imagenet(word: str) -> ClassMap:
    table = {name: number for number, name in enumerate(synsets())}
    size = len(table)
    if word == "imagenet-v2":  # its folders are named by number
        return ClassMap(title=word, find=lambda name: table.get(name, _number(name)), size=size)
    if word in ("imagenet-a", "imagenet-r"):
        part = _packaged(f"{word.replace('-', '_')}_synsets.txt").split()
        table = {name: table[name] for name in part}
    return ClassMap(title=word, find=table.get, names=tuple(table), size=size)


def _packaged(name: str) -> str:
    content = pkgutil.get_data("timm.data", f"_info/{name}")
    if content is None:
        raise ConfigError("a timm that lists ImageNet's subsets", f"one without {name}", "update timm")
    return content.decode("utf-8")


def _number(name: str) -> int | None:
    return int(name) if re.fullmatch(r"[0-9]{1,6}", name) else None


def _csv(file: Path) -> dict[str, int]:
    outputs: dict[str, int] = {}
    for line, name, number in read_table(file, "a table of classes and their numbers"):
        _add(outputs, name, parse_label(number, f"line {line} of {file.name}"), file)
    return outputs


def _json(file: Path) -> dict[str, int]:
    """`{"cat": 0, "dog": 1}`, or a list of names in order."""
    try:
        content: Any = json.loads(read_text(file, "a JSON file of classes and their numbers"))
    except (ValueError, RecursionError) as error:
        raise InputError("a JSON file of classes and their numbers", file.name, f"correct it ({error})") from error
    if isinstance(content, list):
        content = {str(name): number for number, name in enumerate(content)}
    if not isinstance(content, Mapping) or not content:
        raise InputError('classes and their numbers ({"cat": 0})', f"{file.name} without any", "correct the file")
    outputs: dict[str, int] = {}
    for name, number in content.items():
        _add(outputs, str(name), parse_label(json.dumps(number).strip('"'), f"{name!r} of {file.name}"), file)
    return outputs


def _add(outputs: dict[str, int], name: str, number: int, file: Path) -> None:
    if outputs.setdefault(name, number) != number:
        got = f"{outputs[name]} and {number} for {name!r} in {file.name}"
        raise InputError("one number for each class", got, "correct the file")


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
        self.embedded = inner.embedded

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        return self._inner.read(int(self._indices[index]))[0], int(self._labels[index])

    def labels(self) -> Labels:
        """(len,) labels."""
        return self._labels

    def blocks(self) -> tuple[Labels, int] | None:
        """The other set's."""
        found = self._inner.blocks()
        return None if found is None else (found[0][self._indices], found[1])

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
