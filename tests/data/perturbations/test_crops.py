"""Translation is a true shift, pixel by pixel; scaling is PIL's resize of the crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stmbench.data.embedded import photo
from stmbench.data.perturbations import DIRECTIONS, Scaling, Source, Translation
from stmbench.data.perturbations.base import window
from stmbench.data.preprocessing import Preprocessing, to_pixels
from stmbench.errors import ConfigError

MODEL = Preprocessing(size=(224, 224))


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def source(shift: Translation, width: int = 256, height: int = 256, index: int = 0) -> Source:
    return Source(pixels=shift.prepare(picture(width, height)), index=index)


def test_level_0_is_the_models_own_crop() -> None:
    for size in ((256, 256), (341, 256), (256, 400), (301, 299)):
        shift, image = Translation(preprocessing=MODEL), picture(*size)
        made = shift.make([Source(pixels=shift.prepare(image), index=3)], 0)
        assert torch.equal(made[0], MODEL.pixels(image))


@pytest.mark.parametrize("index", range(12))
def test_the_content_moves_by_exactly_the_level(index: int) -> None:
    shift = Translation(preprocessing=MODEL)
    image = source(shift, index=index)
    whole, here = image.pixels, shift.make([image], 0)[0]
    for level in (1, 4, 16):
        dy, dx = shift.displacement(image, level)
        assert max(abs(dy), abs(dx)) == level
        moved = shift.make([image], level)[0]
        top, left = 16 - int(dy), 16 - int(dx)
        assert torch.equal(moved, whole[:, top : top + 224, left : left + 224])
        # what both show is the same, `level` pixels apart
        rows, columns = slice(max(0, int(dy)), 224 + min(0, int(dy))), slice(max(0, int(dx)), 224 + min(0, int(dx)))
        back_rows = slice(rows.start - int(dy), rows.stop - int(dy))
        back_columns = slice(columns.start - int(dx), columns.stop - int(dx))
        assert torch.equal(moved[:, rows, columns], here[:, back_rows, back_columns])


def test_all_eight_directions_are_drawn_by_seed_and_image() -> None:
    shift = Translation(preprocessing=MODEL)
    blank = torch.zeros(3, 256, 256)
    drawn = [shift.direction(Source(pixels=blank, index=i)) for i in range(400)]
    assert set(drawn) == set(DIRECTIONS)
    assert min(drawn.count(direction) for direction in DIRECTIONS) > 25
    again = [shift.direction(Source(pixels=blank, index=i)) for i in reversed(range(400))][::-1]
    assert drawn == again
    other = Translation(preprocessing=MODEL, seed=1)
    assert drawn != [other.direction(Source(pixels=blank, index=i)) for i in range(400)]


def test_what_an_image_cannot_supply_is_said() -> None:
    shift = Translation(preprocessing=MODEL)
    for index in range(8):
        square = source(shift, index=index)
        assert [shift.supplies(square, level) for level in (0, 16, 17, 64)] == [True, True, False, False]
        wide = source(shift, 341, 256, index=index)
        along = shift.direction(wide)[0] == 0
        assert shift.supplies(wide, 58) == along
        assert not shift.supplies(wide, 60)


def test_padding_goes_beyond_the_image() -> None:
    for fill in ("zeros", "reflect"):
        shift = Translation(preprocessing=MODEL, fill=fill)
        image = source(shift)
        assert shift.supplies(image, 64)
        made = shift.make([image], 64)[0]
        dy, dx = map(int, shift.displacement(image, 64))
        grown = torch.nn.functional.pad(image.pixels, (64,) * 4, mode="constant" if fill == "zeros" else "reflect")
        assert torch.equal(made, grown[:, 80 - dy : 304 - dy, 80 - dx : 304 - dx])


def test_windows_far_outside() -> None:
    image = torch.arange(12, dtype=torch.float32).view(1, 3, 4).expand(3, -1, -1)
    assert torch.equal(window(image, 50, 50, (2, 2), "zeros"), torch.zeros(3, 2, 2))
    assert torch.equal(window(image, -7, 1, (1, 2), "zeros"), torch.zeros(3, 1, 2))
    reflected = window(image, -3, -4, (9, 12), "reflect")
    # rows 3 back from 0 of 3 rows: 1, 2, 1, 0, 1, 2, ...
    assert reflected[0, :, 4].div(4).floor().tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]
    assert torch.equal(window(image[:, :1], -2, 0, (3, 4), "reflect"), image[:, :1].expand(-1, 3, -1))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError):
        Translation(preprocessing=MODEL, fill="mirror")  # type: ignore[arg-type]


def scaled(by: Scaling, image: Image.Image, level: float) -> torch.Tensor:
    return by.make([Source(pixels=by.prepare(image), index=0)], level)[0]


def test_scale_takes_a_share_of_the_shorter_side() -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (100, 1, 3))  # 200 wide, 100 high; value is x
    scale = Scaling(preprocessing=Preprocessing(size=(50, 50), crop_pct=0.8))
    ramps = Source(pixels=scale.prepare(Image.fromarray(ramp)), index=0)
    for level in (0.25, 0.5, 1.0):
        row = 255 * scale.make([ramps], level)[0, 0, 25]
        assert row[24:26].mean() == pytest.approx(99.5, abs=0.6)  # the centre stays
        assert (row[-5] - row[4]) / 41 == pytest.approx(100 * level / 50, rel=0.03)  # source pixels for each of ours
    assert torch.equal(scale.reference([ramps]), scale.make([ramps], 0.8))
    assert scale.supplies(ramps, 1.0)
    assert not scale.supplies(ramps, 1.1)


@pytest.mark.parametrize("level", [0.2, 0.5, 1.0])
def test_scale_is_pils_resize_of_the_crop(level: float) -> None:
    scale = Scaling(preprocessing=Preprocessing(size=(96, 96)))
    image = photo(2)
    side = round(level * min(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    theirs = image.crop((left, top, left + side, top + side)).resize((96, 96), Image.Resampling.BICUBIC)
    assert (255 * (scaled(scale, image, level) - to_pixels(theirs)).abs()).mean() < 0.6


def test_above_1_the_image_is_surrounded() -> None:
    white = Image.new("RGB", (100, 100), (255, 255, 255))
    zeros = scaled(Scaling(preprocessing=Preprocessing(size=(60, 60)), fill="zeros"), white, 2.0)
    assert zeros.mean() == pytest.approx(0.25, abs=0.01)
    assert scaled(Scaling(preprocessing=Preprocessing(size=(60, 60)), fill="reflect"), white, 2.0).min() > 0.99
