"""The embedded photographs."""

from __future__ import annotations

import pytest
import torch

from stmbench.data.photos import PICTURES, photo, photos
from stmbench.errors import InputError


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
