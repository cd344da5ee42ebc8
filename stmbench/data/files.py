"""Images in files of their own, labelled or not."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stmbench.data.decoding import decode
from stmbench.data.image_set import ImageSet, Labels, digest


class FileSet(ImageSet):
    """Image files under one folder.

    Args:
        name: of the set; `split`: of the part that it is.
        root: the folder; `paths`: of the files, relative to it.
        targets: a label for each file, or None.
        classes: the labels' names; None where labels are numbers of a model's classes, or where there are none.
        remarks: what was passed over when the files were listed.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        root: Path,
        paths: Sequence[str],
        targets: Sequence[int] | None,
        classes: tuple[str, ...] | None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.name, self.split, self.root, self.paths, self.classes = name, split, root, paths, classes
        self.remarks = remarks
        self._labels = None if targets is None else np.asarray(targets, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        label = None if self._labels is None else int(self._labels[index])
        return decode(self.root / self.paths[index], self.title(index)), label

    def labels(self) -> Labels | None:
        """(len,) labels."""
        return self._labels

    def title(self, index: int) -> str:
        """The file's path within the set."""
        return self.paths[index]

    def fingerprint(self) -> str:
        """Of names, sizes in bytes, and labels; contents are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        labels = [""] * len(self) if self._labels is None else self._labels.tolist()
        sizes = (_size(self.root / path) for path in self.paths)
        return digest(item for facts in zip(self.paths, sizes, labels, strict=True) for item in facts)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
