"""Images given as objects: a tensor, a list of pictures, a data loader or a data set of torch's, behind a name.

`data_name_of(images)` reads them once, keeps them as 8-bit RGB, and returns `given:images-3fa9c1d2`, which `open_set`
takes wherever the name of a data set is; the digits are the start of a hash of their pixels and labels.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from stmbench.data.image_files import to_rgb
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import ConfigError, ImageError, InputError

PREFIX: Final = "given:"
MOST: Final = 50_000  # images: 7 GB at 224 pixels
_SLACK: Final = 1e-4  # by which rounding in a resize may leave [0, 1]
_LABEL: Final = re.compile(r"[\w.+-]+")
_IMAGE_KEYS, _LABEL_KEYS = ("image", "img", "pixel_values", "images"), ("label", "labels")
_SHUFFLED: Final = "the loader shuffles its images: with shuffle=False results are found in the store again"

Pixels = NDArray[np.uint8]


class GivenImages(ImageSet):
    """Pictures in memory, each (H, W, 3) uint8; all of them are the split 'test'."""

    def __init__(
        self, pictures: Sequence[Pixels], labels: Labels | None, *, name: str, classes: tuple[str, ...] | None,
        remarks: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.name, self.split, self.classes, self.remarks = name, "test", classes, remarks
        self._pictures, self._labels = pictures, labels
        sha = hashlib.sha256()
        for picture in pictures:
            sha.update(f"{picture.shape}\0".encode())
            sha.update(np.ascontiguousarray(picture).data)
        known = [] if labels is None else labels.tolist()
        self._fingerprint = digest(["given.v1", sha.hexdigest(), len(pictures), *known, "classes", *(classes or ())])

    def __len__(self) -> int:
        return len(self._pictures)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        return Image.fromarray(self._pictures[index]), None if self._labels is None else int(self._labels[index])

    def labels(self) -> Labels | None:
        """(len,) labels, or None."""
        return self._labels

    def fingerprint(self) -> str:
        """Of pixels, labels and classes."""
        return self._fingerprint


_GIVEN: dict[str, GivenImages] = {}


def data_name_of(
    images: Any,
    *,
    labels: Iterable[int] | None = None,
    classes: Sequence[str] | None = None,
    name: str = "images",
    limit: int | None = None,
) -> str:
    """The name that stands for these images in this process.

    Args:
        images: a data set's name or a path, which stand for themselves; or
            a tensor (B, 3, H, W), or (B, 1, H, W) for grey ones, floats in [0, 1] or uint8;
            an array (B, H, W, 3), likewise;
            a list of PIL images, arrays (H, W, 3) or (H, W), or tensors (3, H, W);
            a `DataLoader` of such tensors, or of pairs or dicts with labels;
            a `Dataset` of images, pairs or dicts (torchvision's, Hugging Face's).
            Pixels are not normalised yet: that is done for each model as it wants it. They are kept in 8 bits.
        labels: of each image, where `images` does not bring them.
        classes: names of the labels, from 0.
        name: what the table calls the set.
        limit: images to read at most, the first ones; None reads all, and refuses more than MOST.

    Raises:
        InputError: anything else; no images; values outside of [0, 1]; labels that do not fit.
    """
    if isinstance(images, str | Path):
        if labels is not None or classes is not None:
            got = f"{str(images)!r} with labels"
            raise ConfigError("labels with images that are objects", got, "for a folder, give labels in a CSV file")
        return str(images)
    if not _LABEL.fullmatch(name):
        raise ConfigError("a name of letters, digits, . _ + and -", repr(name), "choose another")
    if limit is not None and limit < 1:
        raise ConfigError("a limit of at least 1 image", repr(limit), "change the limit")
    pairs = list(itertools.islice(_pairs(images), MOST + 1 if limit is None else limit))
    if not pairs:
        raise InputError("at least one image", f"an empty {type(images).__name__}", "give images")
    if len(pairs) > MOST:
        raise InputError(f"at most {MOST:,} images in memory", "more", "set a limit, or give a folder")
    shuffles = isinstance(images, DataLoader) and isinstance(images.sampler, RandomSampler)
    image_set = GivenImages(
        [picture for picture, _ in pairs],
        _labels([label for _, label in pairs], labels, classes),
        name=name,
        classes=None if classes is None else tuple(map(str, classes)),
        remarks=(_SHUFFLED,) if shuffles else (),
    )
    key = f"{PREFIX}{name}-{image_set.fingerprint()[:8]}"
    _GIVEN[key] = image_set
    return key


def open_given(name: str, split: str) -> GivenImages:
    """The set behind a name of `data_name_of`. Raises InputError where there is none, ConfigError for a split."""
    if name not in _GIVEN:
        remedy = "give the images themselves, from Python: they are known in the process that they were given in"
        raise InputError("images that are known here", repr(name), remedy)
    if split != "test":
        raise ConfigError("the split 'test' of images that are given", repr(split), "give the images of that split")
    return _GIVEN[name]


def release_images(names: Iterable[str]) -> None:
    """Forget the images behind these names; other names are left alone."""
    for name in names:
        _GIVEN.pop(name, None)


def _pairs(images: Any) -> Iterator[tuple[Pixels, int | None]]:
    """(H, W, 3) and the label, image by image."""
    if isinstance(images, Tensor | np.ndarray):
        yield from _batch(images, None)
    elif isinstance(images, DataLoader):
        for batch in images:
            yield from _batch(*_parts(batch))
    elif hasattr(images, "__getitem__") and hasattr(images, "__len__") and not isinstance(images, Mapping | bytes):
        for number in range(len(images)):  # a Dataset need not end its own iteration
            picture, label = _parts(images[number])
            yield picture_of(picture, f"image {number}"), None if label is None else _whole(label)
    else:
        expected = "a tensor, a list of images, a DataLoader or a Dataset"
        raise InputError(expected, type(images).__name__, "or name a data set or a folder")


def _parts(item: Any) -> tuple[Any, Any]:
    """Images and labels of a batch or of one image; labels None where there are none."""
    if isinstance(item, Mapping):
        picture = next((item[key] for key in _IMAGE_KEYS if key in item), None)
        if picture is None:
            raise InputError(
                f"images under {' or '.join(_IMAGE_KEYS)}", f"the keys {', '.join(map(str, item))}", "rename"
            )
        return picture, next((item[key] for key in _LABEL_KEYS if key in item), None)
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise InputError("images, or images and labels", f"{len(item)} things", "give pairs")
        return item[0], item[1] if len(item) == 2 else None
    return item, None


def _batch(images: Any, labels: Any) -> Iterator[tuple[Pixels, int | None]]:
    """(B, 3, H, W) tensor or (B, H, W, 3) array -> image by image."""
    if not isinstance(images, Tensor | np.ndarray) or images.ndim != 4:
        got = f"{tuple(images.shape)}" if hasattr(images, "shape") else type(images).__name__
        raise InputError("a batch of images (B, 3, H, W)", got, "stack images of one size, or give a list")
    if labels is not None and len(labels) != len(images):
        raise InputError(f"{len(images)} labels for a batch of {len(images)}", str(len(labels)), "correct the labels")
    for number, image in enumerate(images):
        label = None if labels is None else _whole(labels[number])
        yield picture_of(image, f"image {number} of a batch"), label


def picture_of(image: Any, title: str) -> Pixels:
    """A PIL image, (3 or 1, H, W) tensor, or (H, W, 3), (H, W, 1) or (H, W) array -> (H, W, 3) uint8."""
    if isinstance(image, Image.Image):
        try:
            return np.asarray(to_rgb(image))
        except (ImageError, OSError) as error:
            raise InputError(f"{title} to be readable", str(error), "give another") from error
    values: NDArray[Any]
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        values = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        values = values.transpose(1, 2, 0) if values.ndim == 3 else values
    else:
        values = np.asarray(image)
    shape = tuple(image.shape) if isinstance(image, Tensor) else values.shape
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 3) or not values.size:
        what = "(3, H, W) in a tensor, or (H, W, 3) in an array"
        raise InputError(what, f"{shape} for {title}", "permute its axes, or leave the image out")
    # a copy: what the user does to the array later is not what was hashed
    return np.array(np.broadcast_to(_bytes(values, title), (*values.shape[:2], 3)), order="C")


def _bytes(values: NDArray[Any], title: str) -> Pixels:
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        got = f"{values.dtype} in {title}"
        raise InputError("pixels as uint8, or as floats in [0, 1]", got, "convert them")
    low, high = float(values.min()), float(values.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # NaN too
        got = f"values from {low:g} to {high:g} in {title}"
        remedy = "give images before they are normalised (each model normalises its own), divided by 255 if need be"
        raise InputError("pixels in [0, 1]", got, remedy)
    return np.rint(values.clip(0, 1) * 255.0).astype(np.uint8)


def _whole(label: Any) -> int:
    try:
        value = float(label)
    except (TypeError, ValueError):
        value = float("nan")
    if value != value or value != int(value):
        raise InputError("a label for each image, a whole number", repr(label)[:60], "give class numbers")
    return int(value)


def _labels(brought: list[int | None], given: Iterable[int] | None, classes: Sequence[str] | None) -> Labels | None:
    """(len,) labels of the images, or None. Raises InputError where they do not fit."""
    with_label = [label for label in brought if label is not None]
    if given is not None:
        if with_label:
            raise InputError("labels once", "labels with the images and beside them", "leave labels=... out")
        with_label = [_whole(label) for label in given]
    elif not with_label:
        if classes is not None:
            raise InputError("labels for the classes", "images without labels", "give labels=[...]")
        return None
    if len(with_label) != len(brought):
        raise InputError(f"a label for each of {len(brought)} images", f"{len(with_label)} labels", "give all of them")
    low, high = min(with_label), max(with_label)
    if low < 0 or (classes is not None and high >= len(classes)):
        most = "" if classes is None else f" to {len(classes) - 1}"
        raise InputError(f"labels from 0{most}", str(low if low < 0 else high), "correct the labels or the classes")
    return np.asarray(with_label, dtype=np.int64)
