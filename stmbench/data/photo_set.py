"""`photos` as an image set: scikit-image's colour photographs, unlabelled, whole first and then crops of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.photos import PICTURES, SMALLEST, photo
from stmbench.errors import ConfigError


class Photos(ImageSet):
    """Image i is photograph i modulo 7: the whole of it in the first pass, later a crop that depends on i alone.

    Args:
        split: 'test'; crops of seven photographs cannot be split into disjoint parts.
        count: how many images.
    """

    name = "photos"
    classes = None
    embedded = True

    def __init__(self, *, split: str = "test", count: int = 700) -> None:
        if split != "test":
            raise ConfigError("the split 'test' of photos", repr(split), "leave --split out")
        if count < 1:
            raise ConfigError("a count of at least 1 for photos", repr(count), "write photos[count=50]")
        self.split, self.count = split, count
        photo(0)  # without scikit-image there is no set

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        return photo(index), None

    def labels(self) -> None:
        """None: photographs have no classes."""
        return None

    def groups(self) -> Labels:
        """The photograph that an image is of."""
        return np.arange(self.count, dtype=np.int64) % len(PICTURES)

    def title(self, index: int) -> str:
        """See `ImageSet.title`."""
        return f"{PICTURES[index % len(PICTURES)]} {index // len(PICTURES)} of photos"

    def fingerprint(self) -> str:
        """Of the pictures' pixels, which scikit-image may change, and of how crops are drawn; not of the count."""
        return _fingerprint(PICTURES)


_KNOWN: dict[Sequence[str], str] = {}


def _fingerprint(names: Sequence[str]) -> str:
    if names not in _KNOWN:
        pixels = [hashlib.sha256(photo(number).tobytes()).hexdigest() for number in range(len(names))]
        _KNOWN[names] = digest(["photos.v1", SMALLEST, *names, *pixels])
    return _KNOWN[names]
