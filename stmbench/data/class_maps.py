"""Maps classes of a set to outputs of a model: from a file, or for ImageNet's subsets as listed by timm."""

from __future__ import annotations

import dataclasses
import functools
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from stmbench.data.label_files import parse_label, read_table, read_text
from stmbench.errors import ConfigError, InputError, UnknownNameError

REAL = "imagenet-real"
IMAGENET = ("imagenet-1k", "imagenet-a", "imagenet-r", REAL, "imagenet-v2")
NUMBERS = "numbers"
WORDS = (*IMAGENET, NUMBERS)
SYNSET = re.compile(r"n[0-9]{8}")


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
