"""Batches of an image set: images are decoded ahead by workers, kept in a cache, and replaced if corrupt."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stmbench.data.image_set import ImageSet
from stmbench.errors import ImageError, InputError, UnitError

CACHE_BYTES = 2**30  # bytes: 7,133 images at 224
LIMIT_CORRUPT = 10  # images that may be skipped by default
AHEAD = 2  # batches that workers decode in advance

Prepare = Callable[[Image.Image], Tensor]
Replacements = Callable[[], NDArray[np.int64]]


class PixelCache:
    """Keeps the prepared images of one set for the next model that needs them in the same form.

    Pixels in [0, 1] that came from 8 bits are stored as 8 bits: a quarter of the memory, and exactly the same values.
    A full cache keeps what it has. Thread-safe.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit, self.used = limit, 0
        self._kept: dict[int, tuple[Tensor, int | None]] = {}

    def get(self, index: int) -> tuple[Tensor, int | None] | None:
        """(pixels, label), or None if the image is not in the cache."""
        kept = self._kept.get(index)
        return None if kept is None else (kept[0].to(torch.float32).div_(255), kept[1])

    def put(self, index: int, pixels: Tensor, label: int | None) -> None:
        """Store an image if there is room for it."""
        size = pixels.numel()
        if index not in self._kept and self.used + size <= self.limit:
            self.used += size
            self._kept[index] = (pixels * 255).round_().to(torch.uint8), label


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Prepared images (`items`) with their `indices` in the set, and (B,) int64 `labels` or None."""

    items: list[Tensor]
    labels: Tensor | None
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.items)

    @functools.cached_property
    def images(self) -> Tensor:
        """(B, ...) the items stacked; they must have one shape (`Preprocessing.uncropped_pixels` may differ)."""
        return torch.stack(self.items)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrupt:
    """A skipped image and the reason; the index is None if the image was lost before the set was numbered."""

    index: int | None
    reason: str


class Batches:
    """Iterates over batches.

    `corrupt` lists the skipped images so far, in the order of reading; `replaced` maps the indices of corrupt images to
    those of their replacements.
    """

    def __init__(
        self,
        image_set: ImageSet,
        indices: Sequence[int],
        prepare: Prepare,
        *,
        batch_size: int,
        workers: int,
        limit_corrupt: int,
        cache: PixelCache | None = None,
        spare: Replacements | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError("a batch size of at least 1", repr(batch_size), "change --batch-size")
        if workers < 0 or limit_corrupt < 0:
            what = "workers" if workers < 0 else "corrupt images"
            got = repr(workers if workers < 0 else limit_corrupt)
            raise InputError(f"a number of {what} of at least 0", got, "change --workers or --limit-corrupt")
        self.image_set, self.prepare, self.limit_corrupt, self.cache = image_set, prepare, limit_corrupt, cache
        self.chunks = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        self.workers, self.corrupt, self.replaced = workers, list[Corrupt](), dict[int, int]()
        self._spare, self._left = spare, cast("NDArray[np.int64] | None", None)

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Batch]:
        self.corrupt, self.replaced, self._left = [], {}, None
        self._note([Corrupt(index=None, reason=damage) for damage in self.image_set.damaged])
        has_images = False
        for chunk in self._read():
            good = [read for index, read_image in chunk if (read := self._good(index, read_image)) is not None]
            if good:
                has_images = True
                yield _batch(good)
        if not has_images and self.chunks:
            raise UnitError(f"no image could be read; the first: {self.corrupt[0].reason}")

    def _good(self, index: int, read: _Read) -> tuple[int, tuple[Tensor, int | None]] | None:
        """The index and the image; those of a replacement if it is corrupt, None if no replacement is left."""
        position = index
        while isinstance(read, Corrupt):
            self._note([read])
            other = self._other(index)
            if other is None:
                return None
            position, read = other, self._one(other)
        if position != index:
            self.replaced[index] = position
        return position, read

    def _other(self, broken: int) -> int | None:
        """The next replacement of the same class, or of any class if there is none."""
        if self._spare is None:
            return None
        if self._left is None:
            self._left = self._spare()
        if not self._left.size:
            return None
        groups = self.image_set.groups()
        alike = self._left[groups[self._left] == groups[broken]]
        taken = int(alike[0] if alike.size else self._left[0])
        self._left = self._left[self._left != taken]
        return taken

    def _note(self, images: list[Corrupt]) -> None:
        self.corrupt += images
        if len(self.corrupt) > self.limit_corrupt:
            names = "; ".join(item.reason for item in self.corrupt[:3])
            raise UnitError(f"more than {self.limit_corrupt} corrupt images, the limit (--limit-corrupt): {names}")

    def _read(self) -> Iterator[list[tuple[int, _Read]]]:
        if self.workers == 0:
            for chunk in self.chunks:
                yield [(index, self._one(index)) for index in chunk]
            return
        # threads suffice: decoding and resizing, nearly all of the work, release the interpreter lock
        with ThreadPoolExecutor(self.workers, thread_name_prefix="decode") as pool:
            waiting = collections.deque[list[tuple[int, Future[_Read]]]]()
            try:
                for chunk in self.chunks:
                    waiting.append([(index, pool.submit(self._one, index)) for index in chunk])
                    if len(waiting) > AHEAD:
                        yield [(index, future.result()) for index, future in waiting.popleft()]
                while waiting:
                    yield [(index, future.result()) for index, future in waiting.popleft()]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, index: int) -> _Read:
        known = None if self.cache is None else self.cache.get(index)
        if known is not None:
            return known
        try:
            image, label = self.image_set.read(index)
        except ImageError as error:
            return Corrupt(index=index, reason=str(error))
        prepared = self.prepare(image)
        if self.cache is not None:
            self.cache.put(index, prepared, label)
        return prepared, label


_Read = tuple[Tensor, int | None] | Corrupt


def batches(
    image_set: ImageSet,
    indices: Sequence[int],
    prepare: Prepare,
    *,
    batch_size: int,
    workers: int = 0,
    limit_corrupt: int = LIMIT_CORRUPT,
    cache: PixelCache | None = None,
    spare: Replacements | None = None,
) -> Batches:
    """Batches of prepared images in the order of `indices`.

    Args:
        prepare: image -> tensor, such as `Preprocessing.pixels`; called in the workers.
        workers: threads that decode ahead; with 0, images are decoded on demand.
        limit_corrupt: images that may be skipped; an image without a replacement makes its batch smaller.
        spare: called at the first corrupt image of a pass; returns the indices of replacements in order of preference.
        cache: for this set and this `prepare`, which must return 8-bit pixels in [0, 1].

    Raises:
        InputError: invalid sizes. UnitError, while iterating: more corrupt images than the limit, or only corrupt ones.
    """
    return Batches(
        image_set,
        indices,
        prepare,
        batch_size=batch_size,
        workers=workers,
        limit_corrupt=limit_corrupt,
        cache=cache,
        spare=spare,
    )


def _batch(good: list[tuple[int, tuple[Tensor, int | None]]]) -> Batch:
    labels = [label for _, (_, label) in good]
    known = None if any(label is None for label in labels) else torch.tensor(labels, dtype=torch.int64)
    return Batch(items=[item for _, (item, _) in good], labels=known, indices=tuple(index for index, _ in good))
