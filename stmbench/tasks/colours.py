"""Changes of colours, blur and solarisation for a batch of images, each by its own numbers; torchvision's definitions.

Made of tensors, they run on the images' device. torchvision's own functions take one factor for a whole batch, and
calling them crop by crop costs more than a small network's step.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

ORDERS: Final = tuple(itertools.permutations(range(4)))  # of brightness, contrast, saturation and hue
CHANGES: Final = ("brightness", "contrast", "saturation", "hue", "order", "jitters", "grey", "sigma", "solarises")
GREY: Final = (0.2989, 0.587, 0.114)
REACH: Final = 3  # standard deviations of a blur's kernel
THRESHOLD: Final = 0.5  # of solarisation: 128 of 256 levels


def change_colours(images: Tensor, changes: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] and (N, 9) `CHANGES` -> (N, 3, H, W) in [0, 1]."""
    columns = dict(zip(CHANGES, changes.unbind(1), strict=True))
    found = images.clone()
    orders = torch.tensor(ORDERS, device=images.device)[columns["order"].long()]
    jitters = columns["jitters"] > 0
    for place in range(len(STEPS)):
        for number, (name, step) in enumerate(STEPS.items()):
            changed = columns[name] != (name != "hue")  # hues are turned by 0, others multiplied by 1
            _apply(found, jitters & changed & (orders[:, place] == number), step, columns[name])
    _apply(found, columns["grey"] > 0, lambda x, _: grey(x).expand_as(x), columns["grey"])
    _apply(found, columns["sigma"] > 0, blur, columns["sigma"])
    _apply(found, columns["solarises"] > 0, lambda x, _: torch.where(x >= THRESHOLD, 1 - x, x), columns["solarises"])
    return found


def drawn_jitter(strength: float) -> tuple[float, ...]:
    """`CHANGES` of one image, as timm's ColorJitter has them: factors of brightness, contrast and saturation up to
    `strength` from 1, none below 0, in any order; from Python's global state."""
    factors = [random.uniform(max(0.0, 1 - strength), 1 + strength) for _ in range(3)]
    return (*factors, 0.0, random.randrange(len(ORDERS)), 1.0, 0.0, 0.0, 0.0)


def _apply(images: Tensor, chosen: Tensor, step: Callable[[Tensor, Tensor], Tensor], numbers: Tensor) -> None:
    """Change the chosen images in place."""
    places = chosen.nonzero()[:, 0]
    if len(places):
        images[places] = step(images[places], numbers[places][:, None, None, None].to(images.dtype))


def grey(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W), ITU-R 601's luma."""
    weights = torch.tensor(GREY, device=images.device, dtype=images.dtype)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blended with black."""
    return (images * factor).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blended with the mean of the image's grey."""
    mean = grey(images).mean((1, 2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blended with the image in grey."""
    without = grey(images)
    return (without + factor * (images - without)).clamp(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turned on the circle of hues, `shift` in turns."""
    largest, smallest = images.amax(1), images.amin(1)
    span = largest - smallest
    red, green, blue = images.unbind(1)
    safe = torch.where(span > 0, span, 1)
    sector = torch.where(
        largest == red,
        (green - blue) / safe,
        torch.where(largest == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    turned = (sector / 6 + shift[:, 0]) % 1.0 * 6
    # each channel falls from its largest value to its smallest between one and two sectors from its own hue
    channels = []
    for own in (5.0, 3.0, 1.0):
        away = (own + turned) % 6
        channels.append(largest - span * torch.minimum(away, 4 - away).clamp(0, 1))
    return torch.stack(channels, 1)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian, each image with its own sigma in pixels, up to `REACH` of it; borders are reflected.

    What an image becomes does not depend on those beside it.
    """
    count, channels, height, width = images.shape
    reach = min(math.ceil(REACH * float(sigma.max())), height - 1, width - 1)
    if reach < 1:
        return images
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    own = sigma.reshape(-1, 1)
    kernel = torch.exp(-0.5 * (places / own).square()) * (places.abs() <= (REACH * own).ceil())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = F.pad(images.reshape(1, count * channels, height, width), [reach] * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    return F.conv2d(flat, kernel[:, None, None, :], groups=count * channels).view_as(images)


STEPS: Final = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
