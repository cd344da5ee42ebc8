"""`photos` as an image set, and the names of sets with their options."""

from __future__ import annotations

import pytest
import torch

from stmbench.data.photos import PICTURES
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, InputError, UnknownNameError

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
