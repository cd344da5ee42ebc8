"""Every kind of image file becomes 8-bit RGB; what cannot be read is named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stmbench.data.decoding import decode
from stmbench.errors import ImageError
from tests.data.builders import BROKEN, encoded, picture

SIDE = (6, 4)


def through(image: Image.Image, kind: str, **options: object) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, **options)
    found = decode(file.getvalue(), "it")
    assert type(found) is Image.Image  # in memory, with no file behind it
    assert found.mode == "RGB"
    return np.asarray(found)


def grey(values: list[int], dtype: type) -> Image.Image:
    return Image.fromarray(np.asarray([values], dtype=dtype))


def palette(transparency: int | None) -> np.ndarray:
    image = Image.new("P", SIDE, 1)
    image.putpalette([0, 0, 0, 250, 10, 20])
    return through(image, "png", **({} if transparency is None else {"transparency": transparency}))


KINDS = {
    "colour": (lambda: through(Image.new("RGB", SIDE, (1, 2, 3)), "png"), (1, 2, 3)),
    "greyscale": (lambda: through(Image.new("L", SIDE, 77), "png"), (77, 77, 77)),
    "1-bit": (lambda: through(Image.new("1", SIDE, 1), "png"), (255, 255, 255)),
    "palette": (lambda: palette(None), (250, 10, 20)),
    "palette, transparent": (lambda: palette(1), (255, 255, 255)),
    "alpha": (lambda: through(Image.new("RGBA", SIDE, (0, 0, 0, 51)), "png"), (204, 204, 204)),
    "grey with alpha": (lambda: through(Image.new("LA", SIDE, (9, 255)), "png"), (9, 9, 9)),
    "CMYK TIFF": (lambda: through(Image.new("CMYK", SIDE, (0, 255, 255, 0)), "tiff"), (255, 0, 0)),
}


@pytest.mark.parametrize(("read", "colour"), KINDS.values(), ids=KINDS.keys())
def test_kinds(read, colour: tuple[int, int, int]) -> None:
    pixels = read()
    assert pixels.shape == (SIDE[1], SIDE[0], 3)
    assert (pixels == colour).all()


def test_cmyk_jpeg_is_in_colour() -> None:
    pixels = through(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "jpeg", quality=95)
    assert abs(pixels.astype(int) - (255, 0, 0)).max() < 8


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    pixels = through(grey([0, 257, 32896, 65535], np.uint16), "png")[0, :, 0]
    assert pixels.tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("full", [1.0, 255.0])
def test_floats_of_two_ranges(full: float) -> None:
    pixels = through(grey([0, 1, 2], np.float32).point(lambda value: value * full / 2), "tiff")[0, :, 0]
    assert pixels.tolist() == [0, 128, 255]


def test_floats_of_no_known_range_are_refused() -> None:
    with pytest.raises(ImageError, match=r"it: float values from -1 to 300"):
        through(grey([-1, 300], np.float32), "tiff")


@pytest.mark.parametrize("kind", ["gif", "png", "tiff", "webp"])
def test_the_first_frame_of_several(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if kind == "webp" else {}
    pixels = through(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (pixels == (255, 0, 0)).all()


DAMAGED = {
    "not an image": b"these are letters",
    "header alone": BROKEN,
    "truncated": encoded(3, "jpg")[:-200],
    "empty": b"",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_is_an_error_with_the_name(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"^n01/x\.jpg: \w"):
        decode(content, "n01/x.jpg")


def test_a_missing_file_is_an_error_without_this_machines_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        decode(tmp_path / "gone.png", "gone.png")
    assert str(caught.value) == "gone.png: No such file or directory"


def test_a_file_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("PIL.Image.open", closing := Closing())
        decode(path, "a.png")
    assert closing.images
    assert all(image.fp is None for image in closing.images)


class Closing:
    """PIL's open, with a record of what it opened."""

    def __init__(self) -> None:
        self.images: list[Image.Image] = []
        self._open = Image.open

    def __call__(self, source: object) -> Image.Image:
        self.images.append(self._open(source))
        return self.images[-1]
