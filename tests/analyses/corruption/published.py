"""Slow references of the corruptions, written from their definition with NumPy, SciPy, PIL and scikit-image.

Each takes one (H, W, 3) float64 image in [0, 1] and the numbers that were drawn for it, and returns what stands before
the result is clipped and stored.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import color, filters

Floats = NDArray[np.float64]


def to_bytes(image: Floats) -> NDArray[np.uint8]:
    """Exactly 8-bit values as bytes."""
    return np.round(255 * image).astype(np.uint8)


def defocus_blur(image: Floats, radius: float, sigma: float) -> Floats:
    half, window = (8, 3) if radius <= 8 else (int(radius), 5)
    axis = np.arange(-half, half + 1)
    disk = np.array([[float(x * x + y * y <= radius**2) for x in axis] for y in axis])
    disk /= disk.sum()
    edge = np.exp(-((np.arange(window) - window // 2) ** 2) / (2 * sigma**2))
    kernel = ndimage.correlate(disk, np.outer(edge, edge) / edge.sum() ** 2, mode="mirror")
    return np.stack([ndimage.correlate(image[..., c], kernel, mode="mirror") for c in range(3)], axis=-1)


def glass_blur(image: Floats, moves: NDArray[np.int64], sigma: float, reach: int) -> Floats:
    """`moves` is (passes, 2, H, W): dx and dy of each pixel, drawn from -reach to reach - 1."""
    height, width = image.shape[:2]
    found = (filters.gaussian(image, sigma, channel_axis=-1) * 255 + 1e-3).astype(np.uint8)
    for dx, dy in moves:
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                other = y + dy[y, x], x + dx[y, x]
                found[y, x], found[other] = found[other], found[y, x]  # views: a copy, as published
    return np.asarray(filters.gaussian(found / 255, sigma, channel_axis=-1))


def motion(image: Floats, degrees: float, radius: int, sigma: float) -> Floats:
    """Tap by tap and pixel by pixel; (H, W, C)."""
    height, width = image.shape[:2]
    taps = 2 * radius + 1
    weights = [math.exp(-(i**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) for i in range(taps)]
    down, right = taps * math.sin(math.radians(degrees)), taps * math.cos(math.radians(degrees))
    found = np.zeros_like(image)
    for i, weight in enumerate(weights):
        dx = math.ceil(i * right / math.hypot(down, right) - 0.5)
        dy = math.ceil(i * down / math.hypot(down, right) - 0.5)
        rows = [min(max(y + dy, 0), height - 1) for y in range(height)]
        columns = [min(max(x + dx, 0), width - 1) for x in range(width)]
        found += weight / sum(weights) * image[rows][:, columns]
    return found


def clipped_zoom(image: Floats, factor: float) -> Floats:
    side = image.shape[0]
    part = math.ceil(side / factor)
    top = (side - part) // 2
    large = ndimage.zoom(image[top : top + part, top : top + part], (factor, factor, 1), order=1, mode="nearest")
    top = (large.shape[0] - side) // 2
    return np.asarray(large[top : top + side, top : top + side])


def zoom_blur(image: Floats, end: float, step: float) -> Floats:
    factors = np.arange(1, end, step)
    return np.asarray((image + sum(clipped_zoom(image, factor) for factor in factors)) / (len(factors) + 1))


def snow(image: Floats, normal: Floats, degrees: float, numbers: tuple[float, ...]) -> Floats:
    mean, deviation, size, threshold, radius, sigma, kept = numbers
    flakes = clipped_zoom((mean + deviation * normal)[..., None], size)
    flakes[flakes < threshold] = 0
    flakes = np.floor(255 * np.clip(flakes, 0, 1)) / 255
    flakes = np.round(255 * motion(flakes, degrees, int(radius), sigma)) / 255
    grey = image @ np.array([0.299, 0.587, 0.114])
    white = kept * image + (1 - kept) * np.maximum(image, grey[..., None] * 1.5 + 0.5)
    return np.asarray(white + flakes + np.rot90(flakes, k=2))


def plasma(side: int, decay: float, numbers: list[Floats]) -> Floats:
    """Midpoint by midpoint; `numbers` are uniform in [0, 1), three grids for each halving of the step."""
    grid, step, wobble, left = np.zeros((side, side)), side, 100.0, iter(numbers)
    while step >= 2:
        half = step // 2
        for begin, near in (
            ((half, half), ((-half, -half), (-half, half), (half, -half), (half, half))),
            ((0, half), ((-half, 0), (half, 0), (0, -half), (0, half))),
            ((half, 0), ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            drawn = next(left)
            for i, y in enumerate(range(begin[0], side, step)):
                for j, x in enumerate(range(begin[1], side, step)):
                    mean = sum(grid[(y + dy) % side, (x + dx) % side] for dy, dx in near) / 4
                    grid[y, x] = mean + wobble * (-wobble + 2 * wobble * drawn[i, j])
        step, wobble = half, wobble / decay
    grid -= grid.min()
    return np.asarray(grid / grid.max())


def fog(image: Floats, clouds: Floats, thickness: float) -> Floats:
    brightest = image.max()
    return np.asarray((image + thickness * clouds[..., None]) * brightest / (brightest + thickness))


def brightness(image: Floats, shift: float) -> Floats:
    hsv = color.rgb2hsv(image)
    hsv[..., 2] = np.clip(hsv[..., 2] + shift, 0, 1)
    return np.asarray(color.hsv2rgb(hsv))


def contrast(image: Floats, kept: float) -> Floats:
    means = image.mean((0, 1))
    return (image - means) * kept + means


def elastic_transform(image: Floats, shifts: Floats, uniform: list[Floats], strength: float, sigma: float) -> Floats:
    """`shifts` (3, 2) are those of the corners, in x and y; `uniform` those of x and of y, (H, W) in [-1, 1)."""
    height, width = image.shape[:2]
    cx, cy, part = width // 2, height // 2, min(height, width) // 3
    before = np.array([[cx + part, cy + part], [cx + part, cy - part], [cx - part, cy - part]], dtype=float)
    affine = np.linalg.solve(np.c_[before, np.ones(3)], before + shifts).T  # (2, 3): corner -> moved corner
    inverse = np.linalg.inv(affine[:, :2])
    y, x = np.mgrid[:height, :width].astype(float)
    sx, sy = np.einsum("ij,jyx->iyx", inverse, np.stack([x - affine[0, 2], y - affine[1, 2]]))
    turned = _mapped(image, sy, sx, "mirror")
    across, down = (strength * filters.gaussian(one, sigma, mode="reflect", truncate=3) for one in uniform)
    return _mapped(turned, y + down, x + across, "reflect")


def _mapped(image: Floats, y: Floats, x: Floats, mode: Any) -> Floats:
    channels = [ndimage.map_coordinates(image[..., c], [y, x], order=1, mode=mode) for c in range(3)]
    return np.stack(channels, axis=-1)


def pixelate(image: Floats, share: float) -> Floats:
    height, width = image.shape[:2]
    small = Image.fromarray(to_bytes(image)).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)) / 255


def jpeg_compression(image: Floats, quality: int) -> Floats:
    file = io.BytesIO()
    Image.fromarray(to_bytes(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255
