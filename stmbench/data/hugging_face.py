"""Hugging Face data sets written by `save_to_disk`, read with Arrow alone, without the package `datasets`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
from PIL import Image

from stmbench.data.image_files import decode
from stmbench.data.image_set import ImageSet, Labels, digest, find_split, split_candidates
from stmbench.data.label_files import MAX_LABEL
from stmbench.errors import ImageError, InputError

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
LABEL_NAMES = ("label", "labels", "cls", "class", "target", "fine_label")
REMEDY = "save the data set again with a current version of datasets"


class HuggingFaceSet(ImageSet):
    """One split: its first column of images, and its first column of class labels (or of integers named label)."""

    def __init__(self, folder: Path, *, name: str, split: str) -> None:
        self.name, self.split, self._folder = name, split, folder
        state, info = _json(folder / STATE), _json(folder / INFO)
        features = info.get("features")
        if not isinstance(features, dict):
            raise InputError("named columns", f"none in {INFO} of {name}", REMEDY)
        column = next((key for key, kind in features.items() if feature_type(kind) == "Image"), None)
        if column is None:
            got = f"{name} with {', '.join(features) or 'no columns'}"
            raise InputError("a data set with a column of images", got, "choose another data set")
        if state.get("_indices_data_files"):
            raise InputError("a data set without an index of its own", name, REMEDY)
        table = _joined([_table(file) for file in _files(folder, state)], name)
        self._images = _column(table, column, name)
        if not holds_images(self._images.type):
            raise InputError("images as bytes and path", f"{self._images.type} in {column!r} of {name}", REMEDY)
        label = next((key for key, kind in features.items() if feature_type(kind) == "ClassLabel"), None) or next(
            (key for key in LABEL_NAMES if key in features and _is_integer(table, key)), None
        )
        self._labels = None if label is None else label_numbers(_column(table, label, name), label, name)
        self.classes = (
            None if label is None or self._labels is None else class_names(features[label], self._labels, name)
        )

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
        """Hash of the labels and of the image sizes in bytes; contents are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        import pyarrow.compute as pc

        sizes = pc.binary_length(pc.struct_field(self._images, "bytes")).to_pylist()
        paths = pc.struct_field(self._images, "path").to_pylist()
        labels = [""] * len(self) if self._labels is None else self._labels.tolist()
        return digest([*sizes, *paths, *labels])


def is_saved_dataset(path: Path) -> bool:
    """Whether the folder was written by `save_to_disk`."""
    return (path / DICT).is_file() or ((path / STATE).is_file() and (path / INFO).is_file())


def open_saved(path: Path, split: str) -> HuggingFaceSet:
    """A split of a saved data set; a set that was saved without splits is entirely 'test'.

    Raises:
        InputError: no images, or damaged files. ConfigError: the split does not exist.
    """
    if (path / DICT).is_file():
        known = _json(path / DICT).get("splits")
        if not _is_list(known) or not all(isinstance(item, str) and Path(item).name == item for item in known):
            raise InputError("names of splits", f"others in {DICT} of {path.name}", REMEDY)
        split_name = find_split(split, known, path.name)
        return HuggingFaceSet(path / split_name, name=path.name, split=split_name)
    if path.name in split_candidates(split):  # the folder of a single split
        return HuggingFaceSet(path, name=path.parent.name, split=path.name)
    find_split(split, ["test"], f"{path.name}, which was saved without splits")
    return HuggingFaceSet(path, name=path.name, split="all")


def _table(file: Path) -> pa.Table:
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()  # memory-mapped: bytes are read on demand
    except (OSError, pa.ArrowException) as error:
        raise InputError("an Arrow stream", f"{file.name} ({str(error)[:80]})", REMEDY) from error


def _files(folder: Path, state: Mapping[str, Any]) -> list[Path]:
    """The Arrow files of a split, which are in its own folder."""
    entries = state.get("_data_files")
    names = [item.get("filename") if isinstance(item, dict) else None for item in entries] if _is_list(entries) else []
    texts = [name for name in names if isinstance(name, str) and name and Path(name).name == name]
    if not names or len(texts) < len(names):
        raise InputError("names of Arrow files", f"others in {STATE} of {folder.name}", REMEDY)
    missing = [name for name in texts if not (folder / name).is_file()]
    if missing:
        raise InputError(f"the Arrow file {missing[0]}", f"none in {folder.name}", "fetch the data set again")
    return [folder / name for name in texts]


def _joined(tables: list[pa.Table], name: str) -> pa.Table:
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise InputError(f"the same columns in every file of {name}", str(error)[:80], REMEDY) from error


def _column(table: pa.Table, key: str, name: str) -> pa.ChunkedArray:
    if table.schema.names.count(key) != 1:
        raise InputError(f"one column {key!r} in {name}", f"{', '.join(table.schema.names)[:80]}", REMEDY)
    return table.column(key)


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column is a structure of an image's bytes and path."""
    if not pa.types.is_struct(kind):
        return False
    fields = {field.name: field.type for field in kind}
    holds = "path" in fields and "bytes" in fields
    return holds and (pa.types.is_binary(fields["bytes"]) or pa.types.is_large_binary(fields["bytes"]))


def label_numbers(column: pa.ChunkedArray, label: str, name: str) -> Labels | None:
    """The labels; None if all are -1, as in test splits with secret labels."""
    if not pa.types.is_integer(column.type) or column.null_count:
        got = f"{column.type} with {column.null_count} empty ones in {label!r}"
        raise InputError(f"a whole number for every image of {name}", got, REMEDY)
    values = column.to_numpy()
    if len(values) and (values == -1).all():
        return None
    wrong = np.flatnonzero((values < 0) | (values > MAX_LABEL))
    if len(wrong):
        got = f"{values[wrong[0]]} in row {wrong[0]} of {name}"
        raise InputError(f"a label from 0 to {MAX_LABEL}", got, "write the number of the class, from 0")
    labels: Labels = values.astype(np.int64)
    return labels


def _json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty for other JSON values."""
    try:
        if not file.is_file():
            raise FileNotFoundError(file.name)
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"a readable {file.name}", f"none in {file.parent.name}", REMEDY) from error
    return content if isinstance(content, dict) else {}


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_integer(table: pa.Table, key: str) -> bool:
    return key in table.schema.names and pa.types.is_integer(table.schema.field(key).type)


def feature_type(feature: Any) -> str:
    """The type of a column among a data set's features, such as Image or ClassLabel."""
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def class_names(feature: Mapping[str, Any], labels: Labels, name: str) -> tuple[str, ...] | None:
    """The names of the labels, where the feature has them. Raises InputError unless every label has one."""
    names = feature.get("names")
    if not names:
        return None
    if not _is_list(names) or (len(labels) and int(labels.max()) >= len(names)):
        got = f"label {labels.max()} with {len(names) if _is_list(names) else 'no'} names in {name}"
        raise InputError("a name for every label", got, REMEDY)
    return tuple(map(str, names))
