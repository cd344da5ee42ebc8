"""The authors' transforms against a version made of PIL and NumPy alone, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stmbench.data.embedded import photo
from stmbench.data.perturbations import AuthorsRotation, AuthorsScaling, AuthorsTranslation, Source
from stmbench.data.perturbations.authors_code import AUTHORS_DIRECTIONS
from stmbench.data.preprocessing import Preprocessing

MODEL = Preprocessing(size=(224, 224))
BICUBIC = Image.Resampling.BICUBIC


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8))


PICTURES = {"photo": photo(0), "square": noise(256, 256), "wide": noise(401, 299), "odd": noise(257, 301)}


def resized(image: Image.Image, shorter: int) -> Image.Image:
    """The shorter side at `shorter`, the longer one cut down to whole pixels."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    other = shorter * long // short
    return image.resize((shorter, other) if width <= height else (other, shorter), BICUBIC)


def centre_crop(image: Image.Image, size: int = 224) -> Image.Image:
    """Black around what is smaller (one pixel more to the right and below), then the middle, halves to even."""
    width, height = image.size
    wide, high = max(width, size), max(height, size)
    canvas = Image.new("RGB", (wide, high))
    canvas.paste(image, ((wide - width) // 2, (high - height) // 2))
    left, top = round((wide - size) / 2), round((high - size) / 2)
    return canvas.crop((left, top, left + size, top + size))


def shifted(image: Image.Image, dy: int, dx: int, size: int = 224) -> np.ndarray:
    """A crop about a moved centre, cut at the image's edge, in the middle of a black picture."""
    whole = np.asarray(image)
    y, x = whole.shape[0] // 2 + dy, whole.shape[1] // 2 + dx
    half = size // 2
    piece = whole[max(y - half, 0) : min(y + half, whole.shape[0]), max(x - half, 0) : min(x + half, whole.shape[1])]
    picture = np.zeros((size, size, 3), dtype=np.uint8)
    top, left = (size - piece.shape[0]) // 2, (size - piece.shape[1]) // 2
    picture[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    return picture


def bytes_of(pixels: object) -> np.ndarray:
    return (np.asarray(pixels).transpose(1, 2, 0) * 255).round().astype(np.uint8)


def same(actual: object, expected: object) -> bool:
    return np.array_equal(bytes_of(actual), np.asarray(expected))


@pytest.mark.parametrize("name", PICTURES)
def test_the_untransformed_image_is_their_standard_transform(name: str) -> None:
    image = PICTURES[name]
    for kind in (AuthorsTranslation, AuthorsRotation, AuthorsScaling):
        made = kind(preprocessing=MODEL)
        source = Source(pixels=made.prepare(image), index=0)
        assert same(made.reference([source])[0], centre_crop(resized(image, 256)))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("level", [0, 4, 32, 64])
def test_translation(name: str, level: int) -> None:
    moves = AuthorsTranslation(preprocessing=MODEL)
    pixels, large = moves.prepare(PICTURES[name]), resized(PICTURES[name], 256)
    for index in range(6):
        source = Source(pixels=pixels, index=index)
        dy, dx = moves.direction(source, level)
        assert same(moves.make([source], level)[0], shifted(large, dy * level, dx * level))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("angle", [5, 45, 90])
def test_rotation_before_and_after_the_crop(name: str, angle: int) -> None:
    large = resized(PICTURES[name], 256)
    expected = {
        "before": centre_crop(large.rotate(angle, BICUBIC)),
        "after": centre_crop(large).rotate(angle, BICUBIC),
    }
    for order, theirs in expected.items():
        turn = AuthorsRotation(preprocessing=MODEL, order=order)  # type: ignore[arg-type]
        assert same(turn.make([Source(pixels=turn.prepare(PICTURES[name]), index=0)], angle)[0], theirs)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("ratio", [0.2, 0.575, 0.95, 1.95])
def test_scale(name: str, ratio: float) -> None:
    scale = AuthorsScaling(preprocessing=MODEL)
    source = Source(pixels=scale.prepare(PICTURES[name]), index=0)
    assert same(scale.make([source], ratio)[0], centre_crop(resized(PICTURES[name], int(224 / ratio))))


def test_seven_of_eight_directions_are_drawn_anew_at_each_level() -> None:
    moves = AuthorsTranslation(preprocessing=MODEL)
    source = Source(pixels=moves.prepare(noise(256, 256)), index=3)
    drawn = {moves.direction(source, level) for level in range(200)}
    assert drawn == set(AUTHORS_DIRECTIONS)
    assert (1, -1) not in drawn
    assert len(drawn) == 7
    assert [moves.direction(source, n) for n in range(9)] == [moves.direction(source, n) for n in range(9)]


@pytest.mark.parametrize(("level", "moved"), [(0, 0), (8, 8), (16, 16), (32, 24), (64, 40)])
def test_the_content_moves_by_less_past_16_pixels(level: int, moved: float) -> None:
    moves = AuthorsTranslation(preprocessing=MODEL)
    large = moves.prepare(noise(256, 256))
    for index in range(6):
        source = Source(pixels=large, index=index)
        dy, dx = moves.displacement(source, level)
        assert max(abs(dy), abs(dx)) == moved
        made = moves.make([source], level)[0]
        seen = made.ne(0).any(0).nonzero()  # noise has no black
        y, x = seen[len(seen) // 2].tolist()
        assert np.array_equal(made[:, y, x], large[:, y - int(dy) + 16, x - int(dx) + 16])


def test_a_long_side_clips_later() -> None:
    moves = AuthorsTranslation(preprocessing=MODEL)
    large = moves.prepare(noise(341, 256))
    sources = [Source(pixels=large, index=i) for i in range(200)]
    along = {level: next(s for s in sources if moves.direction(s, level) == (0, 1)) for level in (56, 64)}
    assert moves.displacement(along[56], 56) == (0, -56)
    assert moves.displacement(along[64], 64)[1] > -64
