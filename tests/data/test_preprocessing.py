"""Preprocessing is the model's own: what timm's evaluation transform gives, taken apart into its steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.data.embedded import photo
from stmbench.data.preprocessing import Preprocessing, to_pixels
from stmbench.errors import InputError

CONFIGS = {
    "bicubic 0.875": {"input_size": (3, 224, 224), "crop_pct": 0.875, "interpolation": "bicubic"},
    "bilinear": {"input_size": (3, 96, 96), "crop_pct": 0.95, "interpolation": "bilinear"},
    "whole": {"input_size": (3, 64, 64), "crop_pct": 1.0, "interpolation": "bicubic", "mean": (0.5,) * 3},
    "squash": {"input_size": (3, 64, 64), "crop_pct": 0.9, "interpolation": "bicubic", "crop_mode": "squash"},
    "border": {"input_size": (3, 64, 64), "crop_pct": 0.9, "interpolation": "bicubic", "crop_mode": "border"},
    "oblong": {"input_size": (3, 64, 96), "crop_pct": 0.875, "interpolation": "lanczos", "std": (0.5,) * 3},
}
NAMES = ("unified_dw_conv_nano", "unified_dw_conv_micro", "timm:resnet18", "timm:vit_tiny_patch16_224")


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = [(300, 451), (451, 300), (40, 60), (224, 224), (30, 31)]
    return [photo(1), *(Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes)]


def assert_as_timm(model: nn.Module) -> None:
    ours = Preprocessing.of(model)
    transform = create_transform(**resolve_data_config(model=model), is_training=False)
    for image in pictures():
        expected = transform(image)
        actual = ours.normalise(ours.pixels(image)[None])[0]
        assert actual.shape == expected.shape
        assert (actual - expected).abs().max() < 1e-5


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_kind_of_config(config: dict) -> None:
    model = nn.Identity()
    model.pretrained_cfg = config
    assert_as_timm(model)


@pytest.mark.parametrize("name", NAMES)
def test_models_by_name(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert_as_timm(model)


def test_the_unified_models_are_prepared_as_the_paper_has_it() -> None:
    with torch.device("meta"):
        preprocessing = Preprocessing.of(create_model("unified_sw_attn_micro"))
    assert preprocessing.size == (224, 224)
    assert (preprocessing.crop_pct, preprocessing.interpolation, preprocessing.crop_mode) == (
        0.875,
        "bicubic",
        "center",
    )
    assert preprocessing.resized(Image.new("RGB", (500, 400))).size == (320, 256)


def test_the_crop_is_the_centre_of_the_larger_image() -> None:
    ours = Preprocessing(size=(64, 64))
    image = photo(2)
    larger = ours.uncropped_pixels(image)
    top, left = (round((side - 64) / 2) for side in larger.shape[1:])
    assert larger.shape[1] == 73
    assert torch.equal(larger[:, top : top + 64, left : left + 64], ours.pixels(image))


def test_images_smaller_than_the_crop_are_enlarged() -> None:
    assert Preprocessing(size=(224, 224)).pixels(Image.new("RGB", (5, 9), (255, 0, 0))).shape == (3, 224, 224)


def test_a_strip_that_would_fill_the_memory_loses_its_ends() -> None:
    ours = Preprocessing(size=(64, 64))
    strip = Image.new("RGB", (3, 30_000), (1, 2, 3))
    assert max(ours.resized(strip).size) <= 8 * 73
    assert ours.pixels(strip).shape == (3, 64, 64)


def test_another_resolution() -> None:
    with torch.device("meta"):
        model = create_model("unified_dw_conv_nano")
    assert Preprocessing.of(model).size == (32, 32)
    assert Preprocessing.of(model, 64).size == (64, 64)
    preprocessing = Preprocessing.of(model, (48, 96))
    assert preprocessing.pixels(photo(0)).shape == (3, 48, 96)


def test_normalising_is_differentiable_also_after_inference() -> None:
    ours = Preprocessing(size=(8, 8), std=(0.5, 0.25, 0.125))
    with torch.inference_mode():
        ours.normalise(torch.zeros(1, 3, 8, 8))
    pixels = torch.rand(2, 3, 8, 8, requires_grad=True)
    ours.normalise(pixels).sum().backward()
    assert torch.equal(pixels.grad[0, :, 0, 0], torch.tensor([2.0, 4.0, 8.0]))


def test_pixels_are_8_bits_over_255() -> None:
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    assert torch.equal(to_pixels(image) * 255, torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float())


def test_models_of_other_channels_are_refused() -> None:
    model = nn.Identity()
    model.pretrained_cfg = {"input_size": (1, 28, 28)}
    with pytest.raises(InputError, match="a model of RGB images, got one of 1 channels"):
        Preprocessing.of(model)
