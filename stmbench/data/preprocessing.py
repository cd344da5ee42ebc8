"""From an image to the input of a model, by the model's own config: resize, crop, scale to [0, 1], normalise.

These are the steps of timm's evaluation transform, separated because analyses intervene between them: perturbations
start from the resized image before the crop, attacks work on pixels in [0, 1].
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stmbench.errors import InputError

MAX_ASPECT_RATIO = (
    8  # sides apart; a longer strip is cut before it is resized, or the unused part would fill the memory
)

Step = Callable[[Image.Image], Image.Image]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing of a model. `size` is (H, W) of its input; the rest is timm's data config."""

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bicubic"

    @classmethod
    def of(cls, model: nn.Module, resolution: int | tuple[int, int] | None = None) -> Preprocessing:
        """The preprocessing from the model's config; `resolution` (a side, or H and W) replaces its input size.

        Raises:
            InputError: the model does not take images with three channels.
        """
        from timm.data.config import resolve_data_config

        config = resolve_data_config(model=model)  # type: ignore[no-untyped-call]
        channels, height, width = config["input_size"]
        if channels != 3:
            raise InputError("a model of RGB images", f"one of {channels} channels", "leave in_chans at 3")
        if resolution is not None:
            height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
        return cls(
            size=(height, width),
            mean=tuple(map(float, config["mean"])),
            std=tuple(map(float, config["std"])),
            crop_pct=float(config["crop_pct"]),
            crop_mode=config["crop_mode"],
            interpolation=config["interpolation"],
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The settings in JSON types, for the conditions of a unit."""
        return dataclasses.asdict(self)

    def resized(self, image: Image.Image) -> Image.Image:
        """The image before the crop."""
        return _steps(self)[0](_shortened(image))

    def cropped(self, image: Image.Image) -> Image.Image:
        """The centre crop of `size` from a resized image."""
        return _steps(self)[1](image)

    def uncropped_pixels(self, image: Image.Image) -> Tensor:
        """(3, H', W') float32 in [0, 1], the resized image before the crop; H' and W' are the image's own."""
        return to_pixels(self.resized(image))

    def pixels(self, image: Image.Image) -> Tensor:
        """(3, H, W) float32 in [0, 1], the input of the model before normalisation."""
        return to_pixels(self.cropped(self.resized(image)))

    def levels(self, image: Image.Image) -> Tensor:
        """(3, H, W) uint8, the same in 256 levels: a quarter of the memory."""
        return _levels(self.cropped(self.resized(image)))

    def normalise_levels(self, batch: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> the model's input in float32, the same values as from `pixels`."""
        pixels = batch / 255  # in one pass
        mean, std = _statistics(self.mean, self.std, pixels.device, pixels.dtype)
        return pixels.sub_(mean).div_(std)

    def normalise(self, batch: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the model's input, differentiable, in the batch's dtype and on its device."""
        mean, std = _statistics(self.mean, self.std, batch.device, batch.dtype)
        return (batch - mean) / std


def to_pixels(image: Image.Image) -> Tensor:
    """(3, H, W) float32 in [0, 1] of an RGB image."""
    return _levels(image).to(torch.float32).div_(255)


def _levels(image: Image.Image) -> Tensor:
    """(3, H, W) uint8 of an RGB image."""
    from torchvision.transforms.functional import pil_to_tensor

    levels: Tensor = pil_to_tensor(image)
    return levels


@functools.lru_cache(maxsize=32)
def _steps(settings: Preprocessing) -> tuple[Step, Step]:
    """timm's (resize, crop)."""
    from timm.data.transforms_factory import transforms_imagenet_eval

    transform = transforms_imagenet_eval(
        img_size=settings.size,
        crop_pct=settings.crop_pct,
        crop_mode=settings.crop_mode,
        interpolation=settings.interpolation,
        mean=settings.mean,
        std=settings.std,
        use_prefetcher=True,
    )
    *resize, crop, _ = transform.transforms  # the last one converts to an array

    def resized(image: Image.Image) -> Image.Image:
        for step in resize:
            image = step(image)
        return image

    return resized, crop


@functools.lru_cache(maxsize=32)
def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(3, 1, 1) each; not created in inference mode, so that attacks can use tensors cached by an evaluation."""
    with torch.inference_mode(False):
        values = torch.tensor([mean, std], device=device, dtype=dtype)[..., None, None]
        return values[0], values[1]


def _shortened(image: Image.Image) -> Image.Image:
    """The image, or its middle if it is more than MAX_ASPECT_RATIO times as long as wide."""
    width, height = image.size
    most = MAX_ASPECT_RATIO * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, left + min(width, most), top + min(height, most)))
