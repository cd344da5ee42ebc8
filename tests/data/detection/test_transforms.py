"""Mirrored and resized images: boxes, areas and masks stay with what they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from stmbench.data.detection.detection_set import Target
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.detection.transforms import DetectionTransform, mirrored, resized, without_crowd
from stmbench.errors import ConfigError

PLAIN = DetectionTransform(flip=0.0)


def scene(height: int = 40, width: int = 60) -> tuple[Image.Image, Target]:
    """A white rectangle, and its target; a second object is crowd."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[8:24, 10:20] = 255
    masks = torch.zeros((2, height, width), dtype=torch.uint8)
    masks[0, 8:24, 10:20] = 1
    target = {
        "boxes": torch.tensor([[10.0, 8, 20, 24], [0, 0, 60, 40]]),
        "labels": torch.tensor([3, 1]),
        "iscrowd": torch.tensor([0, 1]),
        "area": torch.tensor([160.0, 900]),
        "image_id": 7,
        "masks": masks,
    }
    return Image.fromarray(pixels), target


def rectangle_of(image: Tensor) -> list[int]:
    """Left, top, right, bottom of what is brighter than half."""
    bright = image[0] > 0.5
    rows, columns = torch.nonzero(bright.any(1)).ravel(), torch.nonzero(bright.any(0)).ravel()
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def test_a_tensor_and_a_target_without_crowd() -> None:
    image, target = PLAIN(*scene(), np.random.default_rng(0))
    assert (image.shape, image.dtype, float(image.max())) == ((3, 40, 60), torch.float32, 1.0)
    assert target["boxes"].tolist() == [[10, 8, 20, 24]]
    assert (target["labels"].tolist(), target["area"].tolist(), target["image_id"]) == ([3], [160], 7)
    assert target["masks"].shape == (1, 40, 60)


def test_boxes_and_masks_are_mirrored_with_the_image() -> None:
    picture, given = scene()
    image, target = DetectionTransform(flip=1.0)(picture, given, np.random.default_rng(0))
    assert rectangle_of(image) == [40, 8, 50, 24]
    assert target["boxes"].tolist() == [[40, 8, 50, 24]]
    assert torch.equal(target["masks"][0].bool(), image[0] > 0.5)
    assert given["boxes"][0].tolist() == [10, 8, 20, 24]  # what was given is left as it was


def test_half_of_the_images_are_mirrored() -> None:
    flips = [DetectionTransform()(*scene(), np.random.default_rng(seed))[1]["boxes"][0, 0] == 40 for seed in range(200)]
    assert 75 < sum(map(bool, flips)) < 125


@pytest.mark.parametrize(
    ("shorter", "longest", "size"), [(80, None, (80, 120)), (80, 90, (60, 90)), (20, 90, (20, 30))]
)
def test_boxes_areas_and_masks_follow_a_resize(shorter: int, longest: int | None, size: tuple[int, int]) -> None:
    transform = DetectionTransform(flip=0.0, shorter_sides=(shorter,), longest=longest)
    image, target = transform(*scene(), np.random.default_rng(0))
    factor = size[0] / 40
    assert image.shape[1:] == size
    assert target["boxes"].tolist() == [[factor * side for side in (10, 8, 20, 24)]]
    assert rectangle_of(image) == [factor * side for side in (10, 8, 20, 24)]
    assert target["area"].tolist() == [160 * factor**2]
    assert int(target["masks"].sum()) == 160 * factor**2


def test_it_is_what_torchvisions_detectors_do() -> None:
    theirs = GeneralizedRCNNTransform(75, 110, [0.0] * 3, [1.0] * 3)
    image, target = PLAIN(*scene(47, 61), np.random.default_rng(0))
    expected, with_boxes = theirs.resize(image, dict(target))
    found, mine = resized(image, target, 75, 110)
    assert torch.equal(found, expected)
    assert torch.equal(mine["masks"], with_boxes["masks"])
    torch.testing.assert_close(mine["boxes"], with_boxes["boxes"])


def test_sides_are_drawn_from_all_of_a_list_or_range() -> None:
    for sides in ((20, 30, 50), range(20, 23)):
        transform = DetectionTransform(flip=0.0, shorter_sides=sides)
        found = {transform(*scene(), np.random.default_rng(seed))[0].shape[1] for seed in range(40)}
        assert found == set(sides)


def test_an_image_without_objects() -> None:
    picture, target = scene()
    nothing = {key: value[:0] if isinstance(value, Tensor) else value for key, value in target.items()}
    image, found = DetectionTransform(flip=1.0, shorter_sides=(20,))(picture, nothing, np.random.default_rng(0))
    assert (image.shape, found["boxes"].shape, found["masks"].shape) == ((3, 20, 30), (0, 4), (0, 20, 30))


def test_two_flips_give_the_image_back() -> None:
    picture, target = open_detection_set("shapes[size=64]").read(3, masks=True)
    image, target = PLAIN(picture, target, np.random.default_rng(0))
    twice, again = mirrored(*mirrored(image, target))
    assert torch.equal(twice, image)
    assert torch.equal(again["boxes"], without_crowd(target)["boxes"])


@pytest.mark.parametrize("changes", [{"flip": 1.5}, {"shorter_sides": (0,)}, {"shorter_sides": (80,), "longest": 60}])
def test_settings_that_make_no_sense(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="change the recipe"):
        DetectionTransform(**changes)  # type: ignore[arg-type]
