"""`digits`: 1,797 handwritten digits, 8x8 greyscale, as 32x32 RGB, with a fixed split.

The test part of Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), as bundled with
scikit-learn. Small models reach 98 % within a dozen epochs, even with an identity as their mixer: the set tests a
pipeline and does not distinguish mixers.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import ConfigError, MissingPackageError

SIDE = 32
EVERY = 5  # every fifth digit of each class, in the order of the data, is a test image
FULL = 16  # white in the data


class Digits(ImageSet):
    """Ten classes, '0' to '9'; 1,442 images in 'train' and 355 in 'test', every class a fifth in 'test'."""

    name = "digits"
    classes: tuple[str, ...] = tuple("0123456789")
    embedded = True

    def __init__(self, *, split: str = "test") -> None:
        if split not in ("train", "test"):
            raise ConfigError("the split 'train' or 'test' of digits", repr(split), "change --split")
        self.split = split
        pixels, labels = _data()
        position = np.zeros(len(labels), dtype=np.int64)  # a digit's position within its class
        for label in range(10):
            position[labels == label] = np.arange(np.count_nonzero(labels == label))
        self.indices = np.flatnonzero((position % EVERY == EVERY - 1) == (split == "test"))
        self._pixels, self._labels = pixels[self.indices], labels[self.indices]

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """White strokes on black, enlarged by bicubic interpolation."""
        grey = np.rint(self._pixels[index] * (255 / FULL)).astype(np.uint8)
        large = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return large.convert("RGB"), int(self._labels[index])

    def labels(self) -> Labels:
        """(len,) digits."""
        return self._labels

    def fingerprint(self) -> str:
        """Hash of all digits and of the split."""
        pixels = hashlib.sha256(self._pixels.tobytes()).hexdigest()
        return digest(["digits.v1", SIDE, self.split, pixels, self._labels.tobytes().hex()])


@functools.cache
def _data() -> tuple[np.ndarray, Labels]:
    """(1797, 8, 8) values from 0 to 16, and (1797,) labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingPackageError("scikit-learn", "the embedded digits", "demo") from error
    data = load_digits()
    return data.images.astype(np.float64), data.target.astype(np.int64)
