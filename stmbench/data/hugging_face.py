"""Hugging Face data sets that `save_to_disk` wrote, read with Arrow alone: the package `datasets` is not needed."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from stmbench.data import splits
from stmbench.data.decoding import decode
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import ImageError, InputError

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
LABEL_NAMES = ("label", "labels", "cls", "class", "target", "fine_label")
REMEDY = "save the data set again with a current version of datasets"


class SavedSet(ImageSet):
    """One split. The first column of images is read, with the first one of class labels, or of integers named label."""

    def __init__(self, folder: Path, *, name: str, split: str) -> None:
        self.name, self.split, self._folder = name, split, folder
        state, info = _json(folder / STATE), _json(folder / INFO)
        features: Mapping[str, Any] = info.get("features") or {}
        column = next((key for key, kind in features.items() if _type(kind) == "Image"), None)
        if column is None:
            got = f"{name} with {', '.join(features) or 'no columns'}"
            raise InputError("a data set with a column of images", got, "choose another data set")
        files = [folder / item["filename"] for item in state.get("_data_files", [])]
        if state.get("_indices_data_files"):
            raise InputError("a data set without an index of its own", name, REMEDY)
        table = pa.concat_tables([_table(file) for file in files])
        self._images = table.column(column)
        label = next((key for key, kind in features.items() if _type(kind) == "ClassLabel"), None) or next(
            (key for key in LABEL_NAMES if key in features and pa.types.is_integer(table.schema.field(key).type)), None
        )
        self._labels = None if label is None else table.column(label).to_numpy().astype(np.int64)
        self.classes = None if label is None else _classes(features[label], self._labels)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        value: dict[str, Any] = self._images[index].as_py() or {}
        content, path = value.get("bytes"), value.get("path")
        if not content and not path:
            raise ImageError(f"{self.title(index)}: neither bytes nor a path")
        label = None if self._labels is None else int(self._labels[index])
        return decode(content or self._folder / str(path), self.title(index)), label

    def labels(self) -> Labels | None:
        """(len,) labels."""
        return self._labels

    def fingerprint(self) -> str:
        """Of the labels and the sizes of the images in bytes; contents are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        import pyarrow.compute as pc

        sizes = pc.binary_length(pc.struct_field(self._images, "bytes")).to_pylist()
        paths = pc.struct_field(self._images, "path").to_pylist()
        labels = [""] * len(self) if self._labels is None else self._labels.tolist()
        return digest([*sizes, *paths, *labels])


def is_saved(path: Path) -> bool:
    """Whether the folder is one that `save_to_disk` wrote."""
    return (path / DICT).is_file() or ((path / STATE).is_file() and (path / INFO).is_file())


def open_saved(path: Path, split: str) -> SavedSet:
    """A split of a saved data set; one that was saved without splits is all 'test'.

    Raises:
        InputError: no images in it, or damaged files. ConfigError: a split that is not there.
    """
    if (path / DICT).is_file():
        found = splits.find(split, _json(path / DICT).get("splits", []), path.name)
        return SavedSet(path / found, name=path.name, split=found)
    if path.name in splits.candidates(split):  # one split of a saved dictionary, named by its own folder
        return SavedSet(path, name=path.parent.name, split=path.name)
    splits.find(split, ["test"], f"{path.name}, which was saved without splits")
    return SavedSet(path, name=path.name, split="all")


def _table(file: Path) -> pa.Table:
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()  # mapped: bytes are read when they are asked for
    except (OSError, pa.ArrowException) as error:
        raise InputError("an Arrow stream", f"{file.name} ({str(error)[:80]})", REMEDY) from error


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"a readable {file.name}", f"none in {file.parent.name}", REMEDY) from error
    return found if isinstance(found, dict) else {}


def _type(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _classes(feature: Mapping[str, Any], labels: Labels | None) -> tuple[str, ...]:
    names = feature.get("names")
    if names:
        return tuple(map(str, names))
    highest = -1 if labels is None or not len(labels) else int(labels.max())
    return tuple(str(number) for number in range(highest + 1))
