"""What models are given when they are timed: noise or photographs, and for detectors lists of images and targets."""

from __future__ import annotations

import functools
from typing import Any, Final

import torch
from torch import Tensor

from stmbench.data.embedded import photos

OBJECTS: Final = 5  # of an image, in training


def images(kind: str, batch: int, resolution: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(batch, 3, H, W) float32: normal noise, or normalised photographs, repeated where there are too few."""
    if kind == "photos":
        photographs = _photographs(resolution)
        return photographs[torch.arange(batch) % len(photographs)]
    return torch.randn((batch, 3, *resolution), generator=generator)


def pixels(kind: str, batch: int, resolution: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(batch, 3, H, W) float32 in [0, 1], as detectors take images: uniform noise, or photographs."""
    if kind == "photos":
        photographs = _photographs(resolution, normalised=False)
        return photographs[torch.arange(batch) % len(photographs)]
    return torch.rand((batch, 3, *resolution), generator=generator)


@functools.lru_cache(maxsize=4)
def _photographs(resolution: tuple[int, int], *, normalised: bool = True) -> Tensor:
    return photos(resolution, config=None if normalised else {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})


def targets(
    batch: int, resolution: tuple[int, int], *, classes: int, masks: bool, generator: torch.Generator
) -> list[dict[str, Any]]:
    """OBJECTS boxes at random for each image, with labels from 1 to `classes` and, where asked for, filled masks.

    A box's sides are a quarter to a half of the image's.
    """
    height, width = resolution
    found = []
    for number in range(batch):
        shares = torch.rand((4, OBJECTS), generator=generator)
        sides = (0.25 + 0.25 * shares[2:]) * torch.tensor([[width], [height]])
        corner = shares[:2] * (torch.tensor([[width], [height]]) - sides)
        boxes = torch.cat([corner, corner + sides]).T.contiguous()  # x1, y1, x2, y2
        target: dict[str, Any] = {
            "boxes": boxes,
            "labels": torch.randint(1, classes + 1, (OBJECTS,), generator=generator),
            "area": sides.prod(0),
            "iscrowd": torch.zeros(OBJECTS, dtype=torch.int64),
            "image_id": number,
        }
        if masks:
            target["masks"] = torch.zeros((OBJECTS, height, width), dtype=torch.uint8)
            for mask, (left, top, right, bottom) in zip(target["masks"], boxes.round().int().tolist(), strict=True):
                mask[top:bottom, left:right] = 1
        found.append(target)
    return found
