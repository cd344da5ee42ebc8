"""The embedded photographs and digits, and the names of sets with their options."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from sklearn.datasets import load_digits

from stmbench.data import embedded
from stmbench.data.embedded import PICTURES, Digits, photo, photos
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import IMAGES, open_set
from stmbench.errors import ConfigError, InputError, UnknownNameError


@pytest.mark.parametrize("resolution", [(224, 224), (32, 32), (96, 160)])
def test_shape_and_range(resolution: tuple[int, int]) -> None:
    images = photos(resolution, count=len(PICTURES) + 2)
    assert images.shape == (len(PICTURES) + 2, 3, *resolution)
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert images.abs().max() < 3  # normalised
    assert all(image.std() > 0.05 for image in images)


def test_a_function_of_the_number_alone() -> None:
    assert torch.equal(photos((64, 64), count=9)[8], photos((64, 64), count=20)[8])


def test_later_images_are_other_crops() -> None:
    first, later = photo(0), photo(len(PICTURES))
    assert later.width < first.width
    assert later.height < first.height


def test_the_models_own_normalisation_is_used() -> None:
    plain = photos((32, 32), count=1, config={"mean": (0, 0, 0), "std": (1, 1, 1)})
    assert plain.min() >= 0
    assert plain.max() <= 1


def test_no_images_is_an_error() -> None:
    with pytest.raises(InputError, match="number of images"):
        photos((32, 32), count=0)


PHOTOS = open_set("photos")


def test_unlabelled_colour_photographs() -> None:
    image, label = PHOTOS.read(0)
    assert (image.mode, label) == ("RGB", None)
    assert PHOTOS.labels() is None
    assert PHOTOS.classes is None
    assert len(PHOTOS) == 700
    assert PHOTOS.title(8) == "chelsea 1 of photos"


@pytest.mark.parametrize("side", [32, 224, 1024])
def test_crops_are_deterministic_at_any_resolution(side: int) -> None:
    wanted = Preprocessing(size=(side, side))
    first, again = (wanted.pixels(open_set("photos").read(9)[0]) for _ in range(2))
    assert first.shape == (3, side, side)
    assert torch.equal(first, again)


def test_one_resolution_shows_what_another_does() -> None:
    small, large = (Preprocessing(size=(side, side)).pixels(PHOTOS.read(15)[0]) for side in (56, 224))
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert (shrunk - small).abs().mean() < 0.01


def test_every_image_is_another_one_and_the_count_changes_none() -> None:
    few = open_set("photos[count=21]")
    seen = {few.read(index)[0].tobytes() for index in range(21)}
    assert len(seen) == 21
    assert few.fingerprint() == PHOTOS.fingerprint()
    assert few.groups().tolist() == [*range(len(PICTURES))] * 3


REFUSED = {
    "photos[count=0]": (ConfigError, "a count of at least 1 for photos, got 0"),
    "photos[side=3]": (UnknownNameError, "an option of photos, got 'side'; known: count"),
    "photos[count=few]": (ConfigError, "a whole number for photos's count, got 'few'; write photos\\[count=64\\]"),
    "shapes[size=8]": (ConfigError, "a size of shapes from 16 to 1024, got 8"),
    "digit": (UnknownNameError, "a data set or a path to one, got 'digit'; did you mean digits"),
    "./nowhere": (InputError, "a data set's name or path, got './nowhere', where there is nothing"),
    "no-*.tar": (InputError, "where there is nothing; correct the path, or use one of digits, photos, shapes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_are_none(name: str) -> None:
    error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        open_set(name)


def test_photos_have_one_split() -> None:
    with pytest.raises(ConfigError, match="the split 'test' of photos, got 'train'"):
        open_set("photos", split="train")


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


@pytest.mark.parametrize(("name", "split"), [(name, split) for name, splits in IMAGES.items() for split in splits])
def test_plans_know_how_many_images_there_are(name: str, split: str) -> None:
    assert len(open_set(name, split=split)) == IMAGES[name][split]


def test_files_are_read_as_their_packages_read_them() -> None:
    digits, labels = embedded._digits()
    assert (digits == load_digits().images).all()
    assert (labels == load_digits().target).all()
    for name in ("rocket", "immunohistochemistry"):
        assert (np.asarray(embedded._picture(name)) == getattr(skimage.data, name)()).all()


def test_a_package_that_moved_its_files_is_asked_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    read = embedded._digits()
    monkeypatch.setattr(embedded, "_file_of", lambda *_: None)
    embedded._digits.cache_clear()
    embedded._picture.cache_clear()
    assert all((one == other).all() for one, other in zip(embedded._digits(), read, strict=True))
    assert embedded._picture("rocket").size == (640, 427)
