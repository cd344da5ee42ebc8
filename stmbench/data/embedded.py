"""The embedded sets `photos` and `digits`: real images without a download, as bundled with other packages.

photos   the colour pictures of scikit-image, cropped deterministically: the first images are the whole pictures, the
         later ones are crops whose position and size depend only on the number of the image. `photos` returns
         preprocessed tensors, `Photos` is the image set.
digits   1,797 handwritten digits, 8x8 greyscale, as 32x32 RGB, with a fixed split: the test part of Alpaydin and
         Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), as bundled with scikit-learn. Small models
         reach 98 % within a dozen epochs, even with an identity as their mixer: the set tests a pipeline and does not
         distinguish mixers.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import ConfigError, InputError, MissingPackageError

PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "hubble_deep_field", "retina")
FILES = {  # of scikit-image, which would import SciPy to read them
    **{name: f"{name}.png" for name in ("astronaut", "chelsea", "coffee")},
    **{name: f"{name}.jpg" for name in ("rocket", "hubble_deep_field", "retina")},
    "immunohistochemistry": "ihc.png",
}
SMALLEST = 0.4  # a crop's side as a fraction of the picture's
DEFAULTS: Mapping[str, Any] = {"interpolation": "bicubic", "crop_pct": 0.875}  # Hu et al., Table IV

DIGIT_SIDE = 32
EVERY = 5  # every fifth digit of each class, in the order of the data, is a test image
WHITE = 16  # in the data of the digits


def photos(resolution: tuple[int, int], *, count: int = 28, config: Mapping[str, Any] | None = None) -> Tensor:
    """Normalised photographs.

    Args:
        resolution: (H, W) of the images.
        count: number of images; image i is a crop of picture i modulo the number of pictures.
        config: the model's data config (mean, std, interpolation, crop_pct), as resolved by timm.

    Returns:
        (count, 3, H, W), float32.

    Raises:
        MissingPackageError: scikit-image is not installed. InputError: a count below 1.
    """
    if count < 1:
        raise InputError("a number of images >= 1", repr(count), "change --num-images")
    settings = {**DEFAULTS, **{k: v for k, v in (config or {}).items() if k in ("mean", "std", *DEFAULTS)}}
    from timm.data.transforms_factory import create_transform

    transform = create_transform(input_size=(3, *resolution), is_training=False, **settings)
    images = [transform(photo(number)) for number in range(count)]
    return torch.stack(images)


def photo(number: int) -> Image.Image:
    """Image `number` before preprocessing: a whole picture, or a crop of one."""
    picture = _picture(PICTURES[number % len(PICTURES)])
    if number < len(PICTURES):
        return picture
    share, left, top = np.random.default_rng(number).uniform((SMALLEST, 0, 0), 1)
    width, height = (max(1, round(side * share)) for side in picture.size)
    x, y = round((picture.width - width) * left), round((picture.height - height) * top)
    return picture.crop((x, y, x + width, y + height))


@functools.lru_cache(maxsize=len(PICTURES))
def _picture(name: str) -> Image.Image:
    file = _file_of("skimage", "data", FILES[name])
    if file is not None:
        return Image.open(file).convert("RGB")
    try:
        from skimage import data
    except ImportError as error:
        raise MissingPackageError("scikit-image", "the embedded photographs", "demo") from error
    return Image.fromarray(getattr(data, name)()).convert("RGB")


def _file_of(package: str, *place: str) -> Path | None:
    """A file of an installed package, which is not imported; None where it is not there (any more)."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent.joinpath(*place) if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


class Photos(ImageSet):
    """The image set `photos`: image i is photograph i modulo 7, whole for i < 7, and otherwise a crop fixed by i.

    Args:
        split: 'test'; crops of seven photographs cannot be divided into disjoint splits.
        count: number of images.
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
        photo(0)  # raises now if scikit-image is missing

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        return photo(index), None

    def labels(self) -> None:
        """None, since the photographs have no classes."""
        return None

    def groups(self) -> Labels:
        """The photograph that each image shows."""
        return np.arange(self.count, dtype=np.int64) % len(PICTURES)

    def title(self, index: int) -> str:
        """See `ImageSet.title`."""
        return f"{PICTURES[index % len(PICTURES)]} {index // len(PICTURES)} of photos"

    def fingerprint(self) -> str:
        """Hash of the pixels, which scikit-image may change, and of how crops are drawn; not of the count."""
        return _fingerprint(PICTURES)


_KNOWN: dict[Sequence[str], str] = {}


def _fingerprint(names: Sequence[str]) -> str:
    if names not in _KNOWN:
        pixels = [hashlib.sha256(photo(number).tobytes()).hexdigest() for number in range(len(names))]
        _KNOWN[names] = digest(["photos.v1", SMALLEST, *names, *pixels])
    return _KNOWN[names]


class Digits(ImageSet):
    """Ten classes, '0' to '9'; 1,442 images in 'train' and 355 in 'test', every class a fifth in 'test'."""

    name = "digits"
    classes: tuple[str, ...] = tuple("0123456789")
    embedded = True

    def __init__(self, *, split: str = "test") -> None:
        if split not in ("train", "test"):
            raise ConfigError("the split 'train' or 'test' of digits", repr(split), "change --split")
        self.split = split
        pixels, labels = _digits()
        position = np.zeros(len(labels), dtype=np.int64)  # a digit's position within its class
        for label in range(10):
            position[labels == label] = np.arange(np.count_nonzero(labels == label))
        self.indices = np.flatnonzero((position % EVERY == EVERY - 1) == (split == "test"))
        self._pixels, self._labels = pixels[self.indices], labels[self.indices]

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """White strokes on black, enlarged by bicubic interpolation."""
        grey = np.rint(self._pixels[index] * (255 / WHITE)).astype(np.uint8)
        large = Image.fromarray(grey).resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
        return large.convert("RGB"), int(self._labels[index])

    def labels(self) -> Labels:
        """(len,) digits."""
        return self._labels

    def fingerprint(self) -> str:
        """Hash of all digits and of the split."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        pixels = hashlib.sha256(self._pixels.tobytes()).hexdigest()
        return digest(["digits.v1", DIGIT_SIDE, self.split, pixels, self._labels.tobytes().hex()])


@functools.cache
def _digits() -> tuple[np.ndarray, Labels]:
    """(1797, 8, 8) values from 0 to 16, and (1797,) labels."""
    file = _file_of("sklearn", "datasets", "data", "digits.csv.gz")
    if file is not None:
        table = np.loadtxt(file, delimiter=",")
        return np.ascontiguousarray(table[:, :-1]).reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingPackageError("scikit-learn", "the embedded digits", "demo") from error
    data = load_digits()
    return data.images.astype(np.float64), data.target.astype(np.int64)
