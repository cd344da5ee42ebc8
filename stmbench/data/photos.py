"""Real photographs without a download: scikit-image's bundled colour pictures, cropped deterministically.

The first pass over the pictures is the whole of each, prepared as timm evaluates a model (resize by the crop ratio,
centre crop, normalise). Later passes are crops of it whose place and size are a function of the image's number alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor

from stmbench.errors import InputError

PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "hubble_deep_field", "retina")
SMALLEST = 0.4  # of a crop's side, as a share of the picture's
DEFAULTS: Mapping[str, Any] = {"interpolation": "bicubic", "crop_pct": 0.875}  # Hu et al., Table IV


def photos(resolution: tuple[int, int], *, count: int = 28, config: Mapping[str, Any] | None = None) -> Tensor:
    """Normalised photographs.

    Args:
        resolution: (H, W) of the images.
        count: how many; image i is a crop of picture i modulo their number.
        config: the model's data config (mean, std, interpolation, crop_pct), as timm resolves it.

    Returns:
        (count, 3, H, W), float32.

    Raises:
        InputError: scikit-image is not installed, or a count below 1.
    """
    if count < 1:
        raise InputError("a number of images >= 1", repr(count), "change --num-images")
    settings = {**DEFAULTS, **{k: v for k, v in (config or {}).items() if k in ("mean", "std", *DEFAULTS)}}
    transform = create_transform(input_size=(3, *resolution), is_training=False, **settings)
    images = [transform(photo(number)) for number in range(count)]
    return torch.stack(images)


def photo(number: int) -> Image.Image:
    """Image `number` before preprocessing: a whole picture, or a crop of one."""
    picture = _picture(PICTURES[number % len(PICTURES)])
    if number < len(PICTURES):
        return picture
    share, left, top = np.random.default_rng(number).uniform((SMALLEST, 0, 0), 1)
    width, height = (max(1, round(side * share)) for side in picture.size)
    x, y = round((picture.width - width) * left), round((picture.height - height) * top)
    return picture.crop((x, y, x + width, y + height))


@functools.lru_cache(maxsize=len(PICTURES))
def _picture(name: str) -> Image.Image:
    try:
        from skimage import data
    except ImportError as error:
        remedy = "install it with: pip install 'stmbench[demo]'"
        raise InputError("scikit-image for the embedded photographs", "an environment without it", remedy) from error
    return Image.fromarray(getattr(data, name)()).convert("RGB")
