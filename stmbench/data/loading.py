"""Batches of an image set: each image decoded once, ahead of its use where there are workers, corrupt ones replaced."""

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

from stmbench.data.cache import PixelCache
from stmbench.data.image_set import ImageSet
from stmbench.errors import ImageError, InputError, UnitError

LIMIT_CORRUPT = 10  # images that may be skipped, unless the caller says otherwise
AHEAD = 2  # batches that workers are ahead

Prepare = Callable[[Image.Image], Tensor]
Spare = Callable[[], NDArray[np.int64]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Images with their places in the set. `items` are the prepared images, `labels` (B,) int64 or None."""

    items: list[Tensor]
    labels: Tensor | None
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.items)

    @functools.cached_property
    def images(self) -> Tensor:
        """(B, ...) the items stacked; they must have one shape (what `Preprocessing.larger` gives may not)."""
        return torch.stack(self.items)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrupt:
    """An image that was skipped, and why, by name; without an index what the set lost before it was numbered."""

    index: int | None
    reason: str


class Batches:
    """Iterates over batches.

    `corrupt` is what was skipped so far, in the order it was asked for; `replaced` says by which images, where there
    are others: broken -> taken for it.
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
        spare: Spare | None = None,
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
        given = False
        for chunk in self._read():
            good = [read for index, found in chunk if (read := self._good(index, found)) is not None]
            if good:
                given = True
                yield _batch(good)
        if not given and self.chunks:
            raise UnitError(f"no image could be read; the first: {self.corrupt[0].reason}")

    def _good(self, index: int, found: _Read) -> tuple[int, tuple[Tensor, int | None]] | None:
        """The image and its place; where it is corrupt that of another one, None where no other is left."""
        place = index
        while isinstance(found, Corrupt):
            self._note([found])
            other = self._other(index)
            if other is None:
                return None
            place, found = other, self._one(other)
        if place != index:
            self.replaced[index] = place
        return place, found

    def _other(self, broken: int) -> int | None:
        """The next spare image of the same class, or of any where there is none."""
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

    def _note(self, found: list[Corrupt]) -> None:
        self.corrupt += found
        if len(self.corrupt) > self.limit_corrupt:
            names = "; ".join(item.reason for item in self.corrupt[:3])
            raise UnitError(f"more than {self.limit_corrupt} corrupt images, the limit (--limit-corrupt): {names}")

    def _read(self) -> Iterator[list[tuple[int, _Read]]]:
        if self.workers == 0:
            for chunk in self.chunks:
                yield [(index, self._one(index)) for index in chunk]
            return
        # threads: decoding and resizing, nearly all of the work, are outside of the interpreter lock
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
    spare: Spare | None = None,
) -> Batches:
    """Batches of prepared images in the order of `indices`.

    Args:
        prepare: image -> tensor, such as `Preprocessing.pixels`; called in the workers.
        workers: threads that decode ahead; 0 decodes when asked.
        limit_corrupt: images that may be skipped; one that is not replaced makes its batch smaller.
        spare: asked, at the first corrupt image of a pass, for the images that may take its place, the first first.
        cache: of this set and this `prepare`, which gives 8-bit pixels in [0, 1].

    Raises:
        InputError: sizes that make no sense. UnitError, while iterating: more corrupt images than the limit, or
            nothing but corrupt ones.
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
