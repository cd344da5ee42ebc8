"""What a detector finds in images that are scaled, turned or shifted: boxes where they are in the original image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from stmbench.architectures.detectors.base import at_sides, resized
from stmbench.data.perturbations.crops import direction_of
from stmbench.tasks.detection.detecting import Look, Output

Sides = tuple[int, int]  # shorter, longer


def scaled(detector: nn.Module, sides: Sides) -> Look:
    """The detector resizes images to `sides` in place of its own."""

    def look(images: list[Tensor], indices: list[int]) -> list[Output]:
        with at_sides(detector, sides):
            return _boxes(detector(images))

    return look


def resampled(detector: nn.Module, sides: Sides, own: Sides) -> Look:
    """The detector sees the pixels that it would see at `sides`, brought to the size that they have at its own."""

    def look(images: list[Tensor], indices: list[int]) -> list[Output]:
        inputs = [brought(image, sides, own) for image in images]
        found = _without_resizing(detector, inputs)
        return [_placed(output, given, image) for output, given, image in zip(found, inputs, images, strict=True)]

    return look


def brought(image: Tensor, sides: Sides, own: Sides) -> Tensor:
    """(3, H, W) resized to `sides`, then to the size that it has at `own`; at equal sides that is all."""
    size = resized(image, own).shape[-2:]
    return interpolate(resized(image, sides)[None], size=size, mode="bilinear", align_corners=False)[0]


def turned(detector: nn.Module, quarters: int) -> Look:
    """The detector sees images that are turned counter-clockwise by quarters of a full turn."""

    def look(images: list[Tensor], indices: list[int]) -> list[Output]:
        found = _boxes(detector([torch.rot90(image, quarters, (1, 2)) for image in images]))
        for output, image in zip(found, images, strict=True):
            output["boxes"] = turned_back(output["boxes"], quarters, (image.shape[-2], image.shape[-1]))
        return found

    return look


def turned_back(boxes: Tensor, quarters: int, size: tuple[int, int]) -> Tensor:
    """(n, 4) boxes in a turned image -> in the original, which has (H, W) = `size`."""
    rows, columns = size if quarters % 2 == 0 else size[::-1]  # of the turned image
    for _ in range(quarters % 4):
        left, top, right, bottom = boxes.unbind(1)
        boxes = torch.stack([rows - bottom, left, rows - top, right], dim=1)
        rows, columns = columns, rows
    return boxes


def shifted(detector: nn.Module, own: Sides, pixels: int, *, margin: int, seed: int) -> Look:
    """The detector sees each image on a canvas that is larger by `margin` on every side, moved on it by `pixels`.

    The image has the size that the detector resizes it to, so nothing is resampled. The canvas has the colour of the
    detector's padding, its mean.
    """

    def look(images: list[Tensor], indices: list[int]) -> list[Output]:
        seen = [resized(image, own) for image in images]
        corners = [
            (margin - dy * pixels, margin - dx * pixels) for dy, dx in (direction_of(index, seed) for index in indices)
        ]
        mean = torch.tensor(_transform(detector).image_mean)
        canvases = [on_canvas(image, corner, margin, mean) for image, corner in zip(seen, corners, strict=True)]
        found = _without_resizing(detector, canvases)
        for output, (top, left) in zip(found, corners, strict=True):
            output["boxes"] = output["boxes"] - output["boxes"].new_tensor([left, top, left, top])
        return [_placed(output, given, image) for output, given, image in zip(found, seen, images, strict=True)]

    return look


def on_canvas(image: Tensor, corner: tuple[int, int], margin: int, colour: Tensor) -> Tensor:
    """(3, H, W) with its upper left corner at (row, column) of a canvas (3, H + 2 margin, W + 2 margin)."""
    (rows, columns), (top, left) = image.shape[-2:], corner
    canvas = colour.to(image)[:, None, None].expand(3, rows + 2 * margin, columns + 2 * margin).clone()
    canvas[:, top : top + rows, left : left + columns] = image
    return canvas


def _without_resizing(detector: nn.Module, inputs: Sequence[Tensor]) -> list[Output]:
    """What a detector finds in images as large as they are; those of one size go through it together."""
    found: dict[int, Output] = {}
    for size in dict.fromkeys(tuple(image.shape[-2:]) for image in inputs):
        places = [place for place, image in enumerate(inputs) if tuple(image.shape[-2:]) == size]
        with at_sides(detector, (min(size), max(size))):
            found |= dict(zip(places, _boxes(detector([inputs[place] for place in places])), strict=True))
    return [found[place] for place in range(len(inputs))]


def _boxes(outputs: Sequence[Output]) -> list[Output]:
    """Without masks, which nothing here compares."""
    return [{name: output[name] for name in ("boxes", "scores", "labels")} for output in outputs]


def _placed(output: Output, seen: Tensor, image: Tensor) -> Output:
    """The boxes in pixels of the original image, of which `seen` is a resized one."""
    down, across = (image.shape[axis] / seen.shape[axis] for axis in (-2, -1))
    return {**output, "boxes": output["boxes"] * output["boxes"].new_tensor([across, down, across, down])}


def _transform(detector: nn.Module) -> Any:
    return detector.transform
