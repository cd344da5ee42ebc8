"""Rotation against PIL, and where the answer is known."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from stmbench.data.embedded import photo
from stmbench.data.perturbations import Rotation, Source
from stmbench.data.preprocessing import Preprocessing, to_pixels
from stmbench.errors import ConfigError

MODEL = Preprocessing(size=(224, 224))
ORDERS = ("before", "after")


def made(by: Rotation, image: Image.Image, level: float) -> torch.Tensor:
    return by.make([Source(pixels=by.prepare(image), index=0)], level)[0]


@pytest.mark.parametrize("order", ORDERS)
def test_no_rotation_resamples_nothing(order: str) -> None:
    turn = Rotation(preprocessing=MODEL, order=order)  # type: ignore[arg-type]
    for level in (0, 360, -720):
        assert torch.equal(made(turn, photo(0), level), MODEL.pixels(photo(0)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_move_pixels(order: str, quarters: int) -> None:
    turn = Rotation(preprocessing=MODEL, order=order)  # type: ignore[arg-type]
    turned = made(turn, photo(1), 90 * quarters)
    expected = torch.rot90(MODEL.pixels(photo(1)), quarters, (1, 2))  # counter-clockwise
    assert (turned - expected).abs().max() < 2e-3


def test_before_the_crop_corners_come_into_view_and_after_it_they_are_black() -> None:
    image = Image.new("RGB", (400, 400), (255, 255, 255))
    before, after = (made(Rotation(preprocessing=MODEL, order=order), image, 6) for order in ORDERS)  # type: ignore[arg-type]
    assert before.min() > 0.99
    assert after[:, 0, 0].max() == 0
    reflected = Rotation(preprocessing=MODEL, order="after", fill="reflect")
    assert made(reflected, image, 6).min() > 0.99


@pytest.mark.parametrize("degrees", [5, 20, 45])
def test_close_to_pils_bicubic(degrees: int) -> None:
    turn, levels = Rotation(preprocessing=MODEL, order="after"), []
    for number in range(4):
        crop = MODEL.cropped(MODEL.resized(photo(number)))
        theirs = to_pixels(crop.rotate(degrees, resample=Image.Resampling.BICUBIC))
        inside = (slice(None), slice(60, 164), slice(60, 164))  # the edge is another matter: PIL does not fade it
        levels.append((255 * (made(turn, photo(number), degrees) - theirs)[inside].abs()).mean())
    assert torch.stack(levels).mean() < 1.5  # of 255


def test_batches_are_what_single_images_are() -> None:
    turn = Rotation(preprocessing=MODEL)
    sources = [Source(pixels=turn.prepare(photo(i)), index=i) for i in range(3)]
    together = turn.make(sources, 15)
    assert torch.equal(together, torch.cat([turn.make([one], 15) for one in sources]))


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ConfigError):
        Rotation(preprocessing=MODEL, order="during")  # type: ignore[arg-type]
