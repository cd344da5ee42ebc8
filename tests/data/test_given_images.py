"""Images given as objects: tensors, lists, loaders and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from stmbench.data.given_images import data_name_of, open_given, release_images
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, InputError


def noise(*shape: int, seed: int = 0) -> Tensor:
    """uint8."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


BYTES = noise(5, 3, 4, 6)
LABELS = [2, 0, 1, 2, 2]
ARRAYS = BYTES.permute(0, 2, 3, 1).numpy()
PICTURES = [Image.fromarray(array) for array in ARRAYS]


class Pairs(torch.utils.data.Dataset[Any]):
    """As torchvision's: it never ends its own iteration."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return PICTURES[index % 5], LABELS[index % 5]


class Dicts(Pairs):
    """As Hugging Face's."""

    def __getitem__(self, index: int) -> Any:
        return {"image": PICTURES[index], "label": LABELS[index]}


def with_labels() -> dict[str, Any]:
    return {
        "tensor": (BYTES, LABELS),
        "floats": (BYTES.double() / 255, torch.tensor(LABELS)),
        "bfloat16": ((BYTES.float() / 255).bfloat16(), np.array(LABELS)),
        "array": (ARRAYS, LABELS),
        "floats in an array": (ARRAYS.astype(np.float32) / 255, LABELS),
        "pictures": (PICTURES, LABELS),
        "arrays": (list(ARRAYS), LABELS),
        "tensors": (list(BYTES), LABELS),
        "loader": (DataLoader(TensorDataset(BYTES, torch.tensor(LABELS)), batch_size=2), None),
        "loader without labels": (DataLoader(TensorDataset(BYTES), batch_size=2), LABELS),
        "loader of floats": (DataLoader(list(zip(BYTES / 255, LABELS, strict=True)), batch_size=3), None),
        "pairs": (Pairs(), None),
        "dicts": (Dicts(), None),
        "loader of dicts": (
            DataLoader([{"pixel_values": b, "labels": n} for b, n in zip(BYTES, LABELS, strict=True)], batch_size=2),
            None,
        ),
    }


@pytest.mark.parametrize("kind", with_labels())
def test_every_kind_gives_the_same_set(kind: str) -> None:
    images, labels = with_labels()[kind]
    name = data_name_of(images, labels=labels)
    opened = open_set(name)
    assert (opened.name, opened.split, len(opened), opened.classes, opened.num_classes) == (
        "images",
        "test",
        5,
        None,
        3,
    )
    wanted = opened.labels()
    assert wanted is not None
    assert wanted.tolist() == LABELS
    pixels = np.stack([np.asarray(opened.read(index)[0]) for index in range(5)])
    if kind == "bfloat16":  # has fewer than 8 bits
        assert np.abs(pixels.astype(int) - ARRAYS).max() <= 1
    else:
        assert np.array_equal(pixels, ARRAYS)
        assert name == data_name_of(PICTURES, labels=LABELS), "the content alone makes the name"
    assert opened.column == f"images:{opened.fingerprint()[:12]}"


def test_pixels_labels_and_classes_make_the_fingerprint() -> None:
    changed = BYTES.clone()
    changed[4, 2, 3, 5] ^= 1
    names = {
        data_name_of(BYTES),
        data_name_of(changed),
        data_name_of(BYTES.flip(0)),
        data_name_of(BYTES, labels=LABELS),
        data_name_of(BYTES, labels=LABELS[::-1]),
        data_name_of(BYTES, labels=LABELS, classes=["a", "b", "c"]),
        data_name_of(BYTES.reshape(5, 3, 6, 4)),
    }
    assert len(names) == 7


def test_a_change_afterwards_does_not_reach_the_set() -> None:
    tensor, array, picture = BYTES.clone(), ARRAYS.copy(), PICTURES[1].copy()
    names = [data_name_of(tensor), data_name_of(array), data_name_of([PICTURES[0], picture], name="mine")]
    tensor.zero_()
    array.fill(0)
    picture.paste((0, 0, 0), (0, 0, *picture.size))
    for name in names:
        assert np.array_equal(np.asarray(open_set(name).read(1)[0]), ARRAYS[1])
    assert open_set(names[2]).name == "mine"


def test_grey_and_other_kinds_of_pictures_become_rgb() -> None:
    grey = noise(2, 1, 4, 4)
    for images in (grey, list(grey[:, 0].numpy()), [Image.fromarray(a) for a in grey[:, 0].numpy()], grey.unbind()):
        image_set = open_set(data_name_of(images))
        assert np.array_equal(np.asarray(image_set.read(0)[0]), np.repeat(grey[0, 0].numpy()[..., None], 3, axis=2))
    sizes = open_set(data_name_of([Image.new("RGBA", (3, 5)), Image.new("CMYK", (7, 2))]))
    assert [sizes.read(index)[0].size for index in range(2)] == [(3, 5), (7, 2)]


def test_a_name_and_a_path_stand_for_themselves(tmp_path: Path) -> None:
    assert data_name_of("digits") == "digits"
    assert data_name_of(tmp_path) == str(tmp_path)


def test_no_more_than_the_limit_is_read() -> None:
    class Endless(torch.utils.data.IterableDataset[Tensor]):
        def __iter__(self) -> Any:
            while True:
                yield BYTES[0]

    assert len(open_set(data_name_of(DataLoader(Endless(), batch_size=4), limit=6))) == 6


def test_a_loader_that_shuffles_is_remarked_on() -> None:
    loaders = [DataLoader(TensorDataset(BYTES), shuffle=shuffle) for shuffle in (False, True)]
    assert [bool(open_set(data_name_of(loader)).remarks) for loader in loaders] == [False, True]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (BYTES.float(), {}, r"pixels in \[0, 1\], got values from 9 to 254 in image 0 .*before they are normalised"),
        (BYTES / 255 - 0.5, {}, r"pixels in \[0, 1\], got values from -0.464706 to"),
        (torch.full((1, 3, 2, 2), float("nan")), {}, r"pixels in \[0, 1\], got values from nan to nan"),
        (BYTES.int(), {}, r"pixels as uint8, or as floats in \[0, 1\], got int32 in image 0"),
        (BYTES[0], {}, r"a batch of images \(B, 3, H, W\), got \(3, 4, 6\); stack"),
        (noise(2, 4, 5, 5), {}, r"\(3, H, W\) in a tensor, or \(H, W, 3\) in an array, got \(4, 5, 5\) for image 0"),
        (noise(2, 3, 0, 5), {}, r"\(3, H, W\) in a tensor"),
        ([], {}, r"at least one image, got an empty list"),
        (7, {}, r"a tensor, a list of images, a DataLoader or a Dataset, got int; or name a data set or a folder"),
        ([{"x": 1}], {}, r"images under image or img or pixel_values or images, got the keys x"),
        ([(1, 2, 3)], {}, r"images, or images and labels, got 3 things"),
        (PICTURES, {"labels": LABELS[:4]}, r"a label for each of 5 images, got 4 labels"),
        (Pairs(), {"labels": LABELS}, r"labels once, got labels with the images and beside them"),
        (PICTURES, {"labels": [0, 1, 2, 3, -1]}, r"labels from 0, got -1"),
        (PICTURES, {"labels": LABELS, "classes": ["a", "b"]}, r"labels from 0 to 1, got 2"),
        (PICTURES, {"labels": ["cat"] * 5}, r"a label for each image, a whole number, got 'cat'"),
        (PICTURES, {"labels": [0.5] * 5}, r"a whole number, got 0.5"),
        (PICTURES, {"classes": ["a"]}, r"labels for the classes, got images without labels"),
        ("digits", {"labels": LABELS}, r"labels with images that are objects, got 'digits' with labels"),
        (PICTURES, {"name": "a b"}, r"a name of letters, digits, . _ \+ and -, got 'a b'"),
        (PICTURES, {"limit": 0}, r"a limit of at least 1 image, got 0"),
    ],
)
def test_refusals(images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        data_name_of(images, **options)
    assert "\n" not in str(caught.value)


def test_names_without_images_and_other_splits_are_refused(tmp_path: Path) -> None:
    name = data_name_of(BYTES)
    with pytest.raises(ConfigError, match=r"the split 'test' of images that are given, got 'train'"):
        open_set(name, split="train")
    with pytest.raises(ConfigError, match="give labels with the images"):
        open_set(name, labels=tmp_path / "labels.csv")
    release_images([name, "digits"])
    with pytest.raises(InputError, match=r"images that are known here, got 'given:images-.*give the images themselves"):
        open_given(name, "test")
