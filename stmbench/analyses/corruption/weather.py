"""Snow, frost, fog and brightness.

Images are (B, 3, H, W) float32 in [0, 1]; lengths in pixels are those of 224 px, see `blur.scaled`.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from stmbench.analyses.corruption.blur import scaled
from stmbench.analyses.corruption.noise import Draws
from stmbench.analyses.corruption.resampling import clipped_zoom, moved_along, rounded, truncated
from stmbench.analyses.corruption.textures import frost_texture, plasma

SNOWFALLS: Final = (  # mean and deviation of the flakes, their size, threshold, motion radius and sigma, image's weight
    (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
)
FROSTS: Final = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # weights of image and frost
FOGS: Final = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # thickness, decay
SHIFTS: Final = ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,))  # of the brightest channel
GREY: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601


def snow(
    images: Tensor,
    draws: Draws,
    mean: float,
    deviation: float,
    size: float,
    threshold: float,
    radius: float,
    sigma: float,
    kept: float,
) -> Tensor:
    """A whitened image, and two layers of falling flakes: one is the other turned by 180 degrees."""
    height, width = images.shape[-2:]
    flakes = mean + deviation * draws.normal(1, height, width)
    flakes = clipped_zoom(flakes, max(1.0, scaled(images, size)))
    flakes = truncated(torch.where(flakes < threshold, 0, flakes))
    radius, sigma = scaled(images, radius), scaled(images, sigma)
    flakes = rounded(moved_along(flakes, draws.uniform(-135, -45), radius=radius, sigma=sigma))
    grey = (images * images.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    whitened = kept * images + (1 - kept) * torch.maximum(images, 1.5 * grey + 0.5)
    return whitened + flakes + flakes.rot90(2, (2, 3))


def frost(images: Tensor, draws: Draws, kept: float, ice: float) -> Tensor:
    """A weighted sum with frost. The published one is cut out of photographs; ours is `frost_texture`."""
    return kept * images + ice * frost_texture(draws, *images.shape[-2:])


def fog(images: Tensor, draws: Draws, thickness: float, decay: float) -> Tensor:
    """A plasma fractal is added, and the sum scaled back to the image's own brightest value."""
    height, width = images.shape[-2:]
    side = 1 << (max(height, width) - 1).bit_length()
    brightest = images.amax((1, 2, 3), keepdim=True)
    clouds = plasma(draws, side, decay)[:, None, :height, :width]
    return (images + thickness * clouds) * brightest / (brightest + thickness)


def brightness(images: Tensor, draws: Draws, shift: float) -> Tensor:
    """The value of HSV, the largest channel, is raised by `shift`, at most to 1; hue and saturation stay."""
    value = images.amax(1, keepdim=True)
    raised = (value + shift).clamp(max=1)
    return torch.where(value > 0, images * raised / value.clamp(min=1e-12), raised)
