"""An image set in memory, some of whose images are corrupt."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import ImageError
from tests.data.builders import picture


class MemorySet(ImageSet):
    """Pictures by number; `reads` is every image that was asked for."""

    name, split = "memory", "test"

    def __init__(self, labels: Sequence[int] | None, *, count: int = 0, corrupt: Collection[int] = ()) -> None:
        self._labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        self.classes = None if labels is None else tuple(map(str, range(max(0, *labels) + 1)))
        self.count, self.corrupt = count if labels is None else len(labels), corrupt
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        self.reads.append(index)
        if index in self.corrupt:
            raise ImageError(f"{self.title(index)}: damaged")
        return picture(index), None if self._labels is None else int(self._labels[index])

    def labels(self) -> Labels | None:
        return self._labels

    def fingerprint(self) -> str:
        return digest([self.count, None if self._labels is None else self._labels.tolist()])
