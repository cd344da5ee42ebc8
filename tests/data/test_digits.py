"""The embedded digits and their fixed split."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from stmbench.data.digits import Digits
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError

TRAIN, TEST = Digits(split="train"), Digits(split="test")


def test_all_1797_digits_once() -> None:
    assert (len(TRAIN), len(TEST)) == (1442, 355)
    assert sorted([*TRAIN.indices, *TEST.indices]) == list(range(1797))


def test_no_picture_is_in_both_splits() -> None:
    pixels = [{images.read(index)[0].tobytes() for index in range(len(images))} for images in (TRAIN, TEST)]
    assert not pixels[0] & pixels[1]


def test_the_split_is_balanced() -> None:
    shares = np.bincount(TEST.labels()) / np.bincount(np.r_[TRAIN.labels(), TEST.labels()])
    assert len(shares) == 10
    assert (abs(shares - 0.2) < 0.01).all()


def test_a_picture_is_its_digit_at_32_pixels() -> None:
    data = load_digits()
    image, label = TEST.read(7)
    place = TEST.indices[7]
    assert (image.mode, image.size, label) == ("RGB", (32, 32), int(data.target[place]))
    grey = np.asarray(image)
    assert (grey == grey[..., :1]).all()
    small = np.asarray(image.convert("L").reduce(4), dtype=float) / 255 * 16
    assert np.corrcoef(small.ravel(), data.images[place].ravel())[0, 1] > 0.95


def test_the_same_each_time() -> None:
    again = open_set("digits")
    assert again.fingerprint() == TEST.fingerprint() != TRAIN.fingerprint()
    assert again.read(3)[0].tobytes() == TEST.read(3)[0].tobytes()
    assert again.classes == tuple("0123456789")
    assert again.embedded


def test_there_is_no_other_split() -> None:
    with pytest.raises(ConfigError, match="the split 'train' or 'test' of digits, got 'val'"):
        open_set("digits", split="val")
