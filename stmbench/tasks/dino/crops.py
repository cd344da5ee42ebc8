"""Crops of an image, and numbers that say how the colours of each are to change.

What is random is drawn here, image by image; the changes themselves are made for whole batches, see
`stmbench.tasks.colours`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import pil_to_tensor, resized_crop

from stmbench.tasks.colours import CHANGES, ORDERS
from stmbench.training.dino_recipe import GLOBAL_CROPS, DinoRecipe

RATIO: Final = [3 / 4, 4 / 3]


class MultiCrop:
    """A PIL image -> (2, 3, H, W) and (L, 3, h, h) uint8 crops, and (2 + L, 9) float32 `CHANGES`."""

    def __init__(self, recipe: DinoRecipe, size: tuple[int, int]) -> None:
        self.recipe, self.size = recipe, size
        self.local_size = recipe.local_size, recipe.local_size

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor, Tensor]:
        recipe = self.recipe
        assert recipe.crop_scale is not None  # the recipe holds it
        wide = [self._crop(image, self.size, recipe.crop_scale) for _ in range(GLOBAL_CROPS)]
        near = [self._crop(image, self.local_size, recipe.local_scale) for _ in range(recipe.local_crops)]
        empty = torch.empty(0, 3, *self.local_size, dtype=torch.uint8)
        changes = torch.from_numpy(drawn_changes(recipe).astype(np.float32))
        return torch.stack(wide), torch.stack(near) if near else empty, changes

    def _crop(self, image: Image.Image, size: tuple[int, int], scale: tuple[float, float]) -> Tensor:
        top, left, height, width = RandomResizedCrop.get_params(image, [*scale], RATIO)
        crop = resized_crop(image, top, left, height, width, [*size], InterpolationMode.BICUBIC)
        if np.random.random() < self.recipe.hflip:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        found: Tensor = pil_to_tensor(crop)
        return found


def drawn_changes(recipe: DinoRecipe) -> NDArray[np.float64]:
    """(2 + L, 9) `CHANGES`, from NumPy's global state.

    Factors of brightness and contrast up to `color_jitter` from 1, of saturation half as far, shifts of hue up to a
    quarter of it; the order of the four; whether they are made; whether the crop becomes grey; the blur's sigma in
    pixels, 0 for none; whether it is solarised (the second global crop alone).
    """
    count, strength = recipe.crops, recipe.color_jitter
    draws = np.random.random((count, len(CHANGES) + 1))
    reach = strength * np.array([1, 1, 0.5, 0.25])
    factors = np.array([1.0, 1, 1, 0]) + reach * (2 * draws[:, :4] - 1)
    order = np.floor(draws[:, 4] * len(ORDERS))
    first, second, local = recipe.blur
    blurred = draws[:, 7] < np.array([first, second, *[local] * recipe.local_crops])
    low, high = recipe.blur_sigma
    sigma = np.where(blurred, low + (high - low) * draws[:, 8], 0)
    solarised = draws[:, 9] < recipe.solarise
    solarised[np.arange(count) != 1] = False
    flags = (draws[:, 5] < recipe.jitter, draws[:, 6] < recipe.grey, sigma, solarised)
    return np.column_stack((factors, order, *flags))
