"""Crops and changes of colours: torchvision's, repeatable, within their recipe."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as tv

from stmbench.tasks import colours
from stmbench.tasks.colours import CHANGES, ORDERS, change_colours
from stmbench.tasks.dino.crops import MultiCrop, drawn_changes
from stmbench.training.dino_recipe import DINO, DINO_PRESETS
from stmbench.training.settings import seed_at

RECIPE = dataclasses.replace(DINO, local_size=12, local_crops=3)
IMAGES = torch.rand(6, 3, 9, 11, generator=torch.Generator().manual_seed(0))


def image(seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def changes(count: int = 6, **columns: float) -> Tensor:
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
    return torch.tensor([[{**neutral, **columns}.get(name, 0.0) for name in CHANGES]] * count)


def test_shapes_and_repeatability() -> None:
    seed_at(0, 1, 2)
    wide, near, numbers = MultiCrop(RECIPE, (32, 24))(image())
    assert (wide.shape, near.shape, numbers.shape) == ((2, 3, 32, 24), (3, 3, 12, 12), (5, 9))
    assert wide.dtype == near.dtype == torch.uint8
    seed_at(0, 1, 2)
    again = MultiCrop(RECIPE, (32, 24))(image())
    for one, other in zip((wide, near, numbers), again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    seed_at(0, 1, 3)
    assert not torch.equal(MultiCrop(RECIPE, (32, 24))(image())[0], wide)


def test_without_local_crops() -> None:
    _, near, numbers = MultiCrop(dataclasses.replace(RECIPE, local_crops=0), (32, 32))(image())
    assert (len(near), len(numbers)) == (0, 2)


def test_local_crops_show_their_share_of_the_image() -> None:
    """A horizontal ramp: the range of values in a crop says how wide it is."""
    ramp = Image.fromarray(np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3)).copy())
    recipe = dataclasses.replace(RECIPE, local_crops=200, local_scale=(0.04, 0.09), crop_scale=(0.5, 1.0), hflip=0.0)
    seed_at(0)
    wide, near, _ = MultiCrop(recipe, (64, 64))(ramp)
    share = (near[..., -1].float() - near[..., 0].float()).mean((1, 2)) / 200
    assert float(share.min()) > 0.2 * 0.8
    assert float(share.max()) < 0.3 * 1.2
    assert float((wide[..., -1].float() - wide[..., 0].float()).min()) / 200 > 0.5


def test_frequencies_of_the_changes_are_the_recipes() -> None:
    np.random.seed(0)
    drawn = np.stack([drawn_changes(DINO) for _ in range(4000)])
    rates = dict(zip(CHANGES, drawn.transpose(2, 0, 1), strict=True))
    assert rates["jitters"].mean() == pytest.approx(0.8, abs=0.01)
    assert rates["grey"].mean() == pytest.approx(0.2, abs=0.01)
    blurred = (rates["sigma"] > 0).mean(0)
    np.testing.assert_allclose(blurred, [1.0, 0.1, *[0.5] * 8], atol=0.03)
    np.testing.assert_allclose(rates["solarises"].mean(0), [0, 0.2, *[0] * 8], atol=0.03)
    for name, low, high in (("brightness", 0.6, 1.4), ("saturation", 0.8, 1.2), ("hue", -0.1, 0.1)):
        assert low <= rates[name].min() < low + 0.01
        assert high - 0.01 < rates[name].max() <= high
    assert 0.1 <= rates["sigma"][rates["sigma"] > 0].min() < rates["sigma"].max() <= 2.0
    assert set(rates["order"].ravel()) == set(range(len(ORDERS)))


@pytest.mark.parametrize(
    ("name", "factor", "wanted"),
    [
        ("brightness", 1.3, tv.adjust_brightness),
        ("brightness", 0.6, tv.adjust_brightness),
        ("contrast", 1.4, tv.adjust_contrast),
        ("contrast", 0.5, tv.adjust_contrast),
        ("saturation", 1.7, tv.adjust_saturation),
        ("saturation", 0.0, tv.adjust_saturation),
        ("hue", 0.17, tv.adjust_hue),
        ("hue", -0.4, tv.adjust_hue),
    ],
)
def test_a_change_is_torchvisions(name: str, factor: float, wanted: object) -> None:
    found = colours.STEPS[name](IMAGES, torch.full((6, 1, 1, 1), factor))
    torch.testing.assert_close(found, wanted(IMAGES, factor), rtol=0, atol=2e-6)  # type: ignore[operator]


def test_changes_go_in_each_images_own_order() -> None:
    numbers = changes(2, brightness=1.5, contrast=0.5, jitters=1.0)
    numbers[0, CHANGES.index("order")] = ORDERS.index((0, 1, 2, 3))
    numbers[1, CHANGES.index("order")] = ORDERS.index((1, 0, 2, 3))
    found = change_colours(IMAGES[:2], numbers)
    first = tv.adjust_contrast(tv.adjust_brightness(IMAGES[0], 1.5), 0.5)
    second = tv.adjust_brightness(tv.adjust_contrast(IMAGES[1], 0.5), 1.5)
    torch.testing.assert_close(found, torch.stack([first, second]), rtol=0, atol=2e-6)


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    torch.testing.assert_close(change_colours(IMAGES, changes(brightness=0.1, hue=0.3)), IMAGES, rtol=0, atol=0)


def test_grey_and_solarised() -> None:
    grey = change_colours(IMAGES, changes(grey=1.0))
    torch.testing.assert_close(grey, tv.rgb_to_grayscale(IMAGES, 3), rtol=0, atol=1e-6)
    solarised = change_colours(IMAGES, changes(solarises=1.0))
    torch.testing.assert_close(solarised, tv.solarize(IMAGES, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_a_blur_is_torchvisions_with_three_standard_deviations(sigma: float) -> None:
    images = torch.rand(3, 3, 20, 17)
    size = 2 * int(np.ceil(3 * sigma)) + 1
    found = change_colours(images, changes(3, sigma=sigma))
    torch.testing.assert_close(found, tv.gaussian_blur(images, [size, size], [sigma, sigma]), rtol=0, atol=2e-6)


def test_each_image_has_its_own_blur() -> None:
    numbers = changes(2)
    numbers[:, CHANGES.index("sigma")] = torch.tensor([0.0, 1.0])
    found = change_colours(IMAGES[:2], numbers)
    torch.testing.assert_close(found[0], IMAGES[0], rtol=0, atol=0)
    assert float((found[1] - IMAGES[1]).abs().max()) > 0.05


def test_the_presets_are_recipes_of_the_task() -> None:
    assert {recipe.task for recipe in DINO_PRESETS.values()} == {"dino"}
    assert (DINO.crops, DINO.passes(224)) == (10, pytest.approx(3 * (2 + 8 * (96 / 224) ** 2) + 2))


def test_a_blur_does_not_depend_on_the_images_beside_it() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.6, 2.0]).view(2, 1, 1, 1)
    alone = torch.cat([colours.blur(images[:1], sigma[:1]), colours.blur(images[1:], sigma[1:])])
    torch.testing.assert_close(colours.blur(images, sigma), alone, rtol=0, atol=1e-6)
