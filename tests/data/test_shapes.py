"""Drawn pictures: a pure function of (seed, index, size), with labels, boxes and masks that agree."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pytest
from PIL import Image

from stmbench.data.sets import open_set
from stmbench.data.shapes.dataset import SPLITS, Shapes
from stmbench.data.shapes.outlines import CLASSES
from stmbench.data.shapes.scene import LUMA, scene
from stmbench.errors import ConfigError

SIZES = (16, 64, 160)
SCENES = [scene(0, index, size) for size in SIZES for index in range(48)]


def test_a_pure_function_of_seed_index_and_size() -> None:
    first, again = scene(3, 17, 64), scene(3, 17, 64)
    for name in ("image", "boxes", "masks"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.image, scene(4, 17, 64).image)
    assert not np.array_equal(first.image, scene(3, 17 + len(CLASSES), 64).image)


def test_nothing_drawn_before_changes_a_picture() -> None:
    np.random.seed(5)
    expected = scene(0, 30, 32).image
    np.random.seed(6)
    for index in range(5):
        scene(0, index, 96)
    assert np.array_equal(scene(0, 30, 32).image, expected)


def test_at_least_ten_classes_in_turn() -> None:
    assert len(CLASSES) >= 10
    images = open_set("shapes[count=120]")
    assert np.bincount(images.labels()).tolist() == [10] * len(CLASSES)
    assert [images.read(index)[1] for index in range(24)] == images.labels()[:24].tolist()


def test_a_box_is_the_tight_one_around_its_mask() -> None:
    for drawn in SCENES:
        size = drawn.image.shape[0]
        assert drawn.image.shape == (size, size, 3)
        assert drawn.masks.shape == (len(drawn.boxes), size, size)
        for mask, box in zip(drawn.masks, drawn.boxes, strict=True):
            left, top, right, bottom = box.astype(int)
            assert mask[top:bottom, left:right].sum() == mask.sum() > 0
            for edge in (mask[top, :], mask[bottom - 1, :], mask[:, left], mask[:, right - 1]):
                assert edge.any()


def test_figures_do_not_share_pixels_and_can_be_seen() -> None:
    for drawn in SCENES:
        size = drawn.image.shape[0]
        assert 1 <= len(drawn.masks) <= 3
        assert drawn.masks.sum(0).max() <= 1
        if size > 16:
            assert (drawn.masks.sum((1, 2)) > 0.008 * size**2).all()


def test_the_same_picture_at_every_size() -> None:
    for index in range(12):
        large, small = scene(0, index, 192), scene(0, index, 48)
        shrunk = np.asarray(Image.fromarray(large.image).reduce(4), dtype=float)
        assert np.corrcoef(shrunk.ravel(), small.image.ravel())[0, 1] > 0.8
        assert len(large.boxes) == len(small.boxes)
        assert abs(large.boxes / 4 - small.boxes).max() < 3


def test_figures_stand_out_from_what_is_around_them() -> None:
    apart = []
    for drawn in (scene(0, index, 64) for index in range(96)):
        inside = drawn.masks.any(0)
        colours = [drawn.image[place].mean(0) / 255 for place in (inside, ~inside)]
        apart.append(np.linalg.norm(colours[0] - colours[1]))
    assert np.mean(np.asarray(apart) > 0.1) > 0.95
    assert np.std(apart) > 0.1  # some are easy, some are not


def test_colour_and_place_do_not_give_the_class_away() -> None:
    features, labels = [], []
    for index in range(360):
        drawn = scene(0, index, 32)
        features.append([*drawn.image.mean((0, 1)), *drawn.image.std((0, 1))])
        labels.append(drawn.label)
    table, target = np.asarray(features), np.asarray(labels)
    table = (table - table.mean(0)) / table.std(0)
    distances = np.square(table[:, None] - table[None]).sum(-1) + np.diag(np.full(len(table), np.inf))
    right = (target[distances.argmin(1)] == target).mean()
    assert right < 0.2  # chance is 1/12


def test_splits_never_meet() -> None:
    pictures = {split: Shapes(split=split, size=16, count=60) for split in SPLITS}
    seen = {split: {images.scene(index).image.tobytes() for index in range(60)} for split, images in pictures.items()}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not seen[one] & seen[other]
    assert len({images.fingerprint() for images in pictures.values()}) == 3


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    few, many = Shapes(count=5, size=32), Shapes(count=50, size=32)
    assert few.read(4)[0].tobytes() == many.read(4)[0].tobytes()
    assert few.fingerprint() == many.fingerprint() != Shapes(size=48).fingerprint()
    assert open_set("shapes[size=32]", seed=1).fingerprint() != few.fingerprint()


def test_there_is_no_other_split() -> None:
    with pytest.raises(ConfigError, match="a split of shapes"):
        open_set("shapes", split="all")


def test_plain_pictures_are_figures_of_one_colour_on_another() -> None:
    for index in range(24):
        drawn = scene(0, index, 64, plain=True)
        figures = drawn.masks.any(0)
        ground = drawn.image[~figures & ~_neighbours(figures)]
        assert _share_of_one_colour(ground) > 0.99  # neither texture nor clutter nor noise
        for mask in drawn.masks:
            inside = drawn.image[mask & ~_neighbours(~mask)]
            assert _share_of_one_colour(inside) > 0.95
        assert np.array_equal(drawn.image, scene(0, index, 64, plain=True).image)
        assert drawn.label == index % len(CLASSES)


def _share_of_one_colour(pixels: np.ndarray) -> float:
    """Of (n, 3) pixels; not 1 where tips of figures are thinner than a pixel."""
    return float((pixels == np.median(pixels, axis=0)).all(1).mean())


def _neighbours(mask: np.ndarray) -> np.ndarray:
    """The mask and the pixels beside it, which a figure's smooth edge covers in part."""
    padded = np.pad(mask, 1)
    size = len(mask)
    return np.any([padded[y : y + size, x : x + size] for y in range(3) for x in range(3)], axis=0)


def test_plain_pictures_are_another_set() -> None:
    plain, usual = open_set("shapes[plain=1,count=24]"), open_set("shapes[count=24]")
    assert (plain.name, usual.name) == ("shapes[plain=1]", "shapes")
    assert plain.fingerprint() != usual.fingerprint() == open_set("shapes[plain=0]").fingerprint()
    assert np.array_equal(plain.labels(), usual.labels())
    for text in ("shapes[plain=2]", "shapes[plain=1,relation=same]"):
        with pytest.raises(ConfigError, match="plain"):
            open_set(text)


def test_icons_are_one_large_light_figure_on_a_dark_ground_of_any_hue() -> None:
    hues = []
    for index in range(48):
        drawn = scene(0, index, 64, icon=True)
        assert drawn.label == index % len(CLASSES)
        (mask,) = drawn.masks
        ground, inside = (drawn.image[part & ~_neighbours(~part)] for part in (~mask, mask))
        for pixels, luma in ((ground, 0.25), (inside, 0.6)):
            assert _share_of_one_colour(pixels) > 0.95
            assert float(np.median(pixels, axis=0) @ LUMA / 255) == pytest.approx(luma, abs=0.004)
        (box,) = drawn.boxes
        assert 0.4 * 64 < float(max(box[2] - box[0], box[3] - box[1])) <= 64
        red, green, blue = np.median(inside, axis=0) / 255
        hues.append(colorsys.rgb_to_hsv(red, green, blue)[0])
    assert np.histogram(hues, 4, (0, 1))[0].min() >= 3


def test_icons_are_another_set() -> None:
    icons, usual = open_set("shapes[icon=1,count=24]"), open_set("shapes[count=24]")
    assert icons.name == "shapes[icon=1]"
    assert icons.fingerprint() not in (usual.fingerprint(), open_set("shapes[plain=1,count=24]").fingerprint())
    assert np.array_equal(icons.labels(), usual.labels())
    for text in ("shapes[icon=2]", "shapes[icon=1,relation=same]", "shapes[icon=1,plain=1]"):
        with pytest.raises(ConfigError, match="icon"):
            open_set(text)
