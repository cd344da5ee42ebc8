"""Parquet files of images, as the Hugging Face Hub has them: a column with the images' bytes, and one of labels.

Parquet can be read by row groups alone, which hold some hundred images: the last ones are kept, and a training shuffles
the groups first and then the images of as many groups as are kept (`ImageSet.blocks`).
"""

from __future__ import annotations

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from stmbench.data.hugging_face import LABEL_NAMES, class_names, feature_type, holds_images
from stmbench.data.image_files import decode
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.label_files import MAX_LABEL
from stmbench.data.shard_files import name_and_split
from stmbench.errors import ImageError, InputError

KEEP_BYTES = 2**28  # of row groups in memory, in each process that decodes
IMAGE_NAMES: Final = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
FEATURES: Final = b"huggingface"  # the key of a data set's features in a file's metadata
REMEDY: Final = "fetch the files again, or write them with datasets' to_parquet"
NO_LABEL: Final = -1


class Group(NamedTuple):
    """A row group: its file's number, its own number there, its first row in the file, its rows, its images' bytes."""

    file: int
    number: int
    first: int
    rows: int
    size: int


class ParquetSet(ImageSet):
    """Images in Parquet files. Rows without a label, where others have one, are lost, and so are unreadable files."""

    def __init__(self, files: Sequence[Path], *, name: str, split: str) -> None:
        self.name, self.split, self.files = name, split, list(files)
        self._metadata: dict[int, pq.FileMetaData] = {}
        self._kept: OrderedDict[int, pa.ChunkedArray | str] = OrderedDict()
        self._lock = threading.Lock()
        lost, labels = list[str](), list[list[Any]]()
        self._groups: list[Group] = []
        for number, file in enumerate(files):
            try:
                metadata = pq.read_metadata(file)
                schema = metadata.schema.to_arrow_schema()
                if not self._groups:
                    self._features = _features(schema)
                    self._column, self._label = _columns(schema, self._features, name)
                groups, column = self._of_file(metadata, number), self._labels_of(file)
            except (pa.ArrowException, OSError) as error:
                lost.append(f"{file.name} is damaged ({' '.join(str(error).split())[:80]}), its images are lost")
                continue
            self._metadata[number] = metadata
            self._groups += groups
            labels.append(column)
        if not self._groups:
            raise InputError(f"images in the Parquet files of {name}", lost[0] if lost else "no rows", REMEDY)
        self._keep = max(1, KEEP_BYTES // max(1, *(group.size for group in self._groups)))
        sizes = [group.rows for group in self._groups]
        self._group = np.repeat(np.arange(len(sizes)), sizes)
        self._row = np.concatenate([np.arange(size) for size in sizes])
        self.classes, self._labels = None, None
        values = [value for column in labels for value in column]
        if any(value is not None for value in values):
            kept = np.array([value is not None for value in values])
            lost += [f"{self.title(int(index))}: no label" for index in np.flatnonzero(~kept)]
            self._group, self._row = self._group[kept], self._row[kept]
            self.classes, self._labels = self._numbered([value for value in values if value is not None])
        self.damaged = tuple(lost)

    def __len__(self) -> int:
        return len(self._row)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        with self._lock:  # threads share the groups; decoding, which takes longer, is done by all of them
            group = self._read(int(self._group[index]))
        if isinstance(group, str):
            raise ImageError(f"{self.title(index)}: {group}")
        value = group[int(self._row[index])].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not content:
            raise ImageError(f"{self.title(index)}: no bytes")
        return decode(content, self.title(index)), None if self._labels is None else int(self._labels[index])

    def labels(self) -> Labels | None:
        """(len,) labels."""
        return self._labels

    def blocks(self) -> tuple[Labels, int]:
        """The images' row groups, and how many are kept."""
        return self._group, self._keep

    def title(self, index: int) -> str:
        """The name of the file and the row of the image in it, from 0."""
        group = self._groups[self._group[index]]
        return f"{self.files[group.file].name}, row {group.first + int(self._row[index])}"

    def fingerprint(self) -> str:
        """Hash of the files' names, of the groups' rows and sizes in bytes, and of the labels; no image is read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        groups = [(self.files[group.file].name, *group[1:]) for group in self._groups]
        labels = [] if self._labels is None else self._labels.tolist()
        return digest([*(item for group in groups for item in group), *self._row.tolist(), *labels])

    def __getstate__(self) -> dict[str, Any]:  # for processes that decode, which have groups of their own
        return {**self.__dict__, "_kept": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}

    def _of_file(self, metadata: pq.FileMetaData, file: int) -> list[Group]:
        found, first = [], 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            columns = [group.column(place) for place in range(group.num_columns)]
            size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] == self._column)
            found.append(Group(file, number, first, group.num_rows, size))
            first += group.num_rows
        return [group for group in found if group.rows]

    def _labels_of(self, file: Path) -> list[Any]:
        if self._label is None:
            return []
        found: list[Any] = pq.read_table(file, columns=[self._label]).column(0).to_pylist()
        return [None if value == NO_LABEL else value for value in found]  # as the Hub has it for secret labels

    def _numbered(self, values: list[Any]) -> tuple[tuple[str, ...] | None, Labels]:
        """Names of the classes, where there are, and (len,) labels. Raises InputError for other than class numbers."""
        assert self._label is not None
        if isinstance(values[0], str):
            names = sorted(set(values))
            ranks = {name: rank for rank, name in enumerate(names)}
            return tuple(names), np.array([ranks[value] for value in values], dtype=np.int64)
        wrong = next((value for value in values if not 0 <= value <= MAX_LABEL), None)
        if wrong is not None:
            got, remedy = f"{wrong} in {self._label!r} of {self.name}", "write the number of the class, from 0"
            raise InputError(f"a label from 0 to {MAX_LABEL}", got, remedy)
        labels = np.array(values, dtype=np.int64)
        return class_names(self._features.get(self._label) or {}, labels, self.name), labels

    def _read(self, number: int) -> pa.ChunkedArray | str:
        """The images of a row group, or why they cannot be read."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        group = self._groups[number]
        found: pa.ChunkedArray | str
        try:
            with pq.ParquetFile(self.files[group.file], metadata=self._metadata[group.file]) as file:
                found = file.read_row_group(group.number, columns=[self._column]).column(0)
        except (pa.ArrowException, OSError) as error:
            found = f"row group {group.number} is damaged ({' '.join(str(error).split())[:80]})"
        self._kept[number] = found
        while len(self._kept) > self._keep:
            self._kept.popitem(last=False)
        return found


def open_parquet(files: Sequence[Path]) -> ParquetSet:
    """The images of these Parquet files; the set is named after their folder, or after a single file.

    Raises:
        InputError: no file that can be read, no column of images, or labels that are no class numbers.
    """
    name, split = name_and_split(files)
    return ParquetSet(files, name=name, split=split)


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """The features that Hugging Face's datasets write into a file; none from elsewhere."""
    try:
        found = json.loads((schema.metadata or {}).get(FEATURES, b"{}"))
        features = found.get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return features if isinstance(features, dict) else {}


def _columns(schema: pa.Schema, features: Mapping[str, Any], name: str) -> tuple[str, str | None]:
    """The columns of images and of labels. Raises InputError without the first."""
    of_images = [key for key, kind in features.items() if feature_type(kind) == "Image" and key in schema.names]
    of_images += [field.name for field in schema if holds_images(field.type)]
    of_images += [key for key in IMAGE_NAMES if key in schema.names and _is_binary(schema.field(key).type)]
    if not of_images:
        got = f"{name} with {', '.join(schema.names)[:80] or 'no columns'}"
        raise InputError("Parquet files with a column of images", got, f"name the images' bytes {IMAGE_NAMES[0]}")
    labels = [key for key, kind in features.items() if feature_type(kind) == "ClassLabel" and key in schema.names]
    labels += [key for key in LABEL_NAMES if key in schema.names and _is_label(schema.field(key).type)]
    return of_images[0], labels[0] if labels else None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_label(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))
