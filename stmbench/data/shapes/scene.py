"""One picture: a pure function of (seed, index, size), and almost the same picture at every size.

From back to front: a textured background, clutter, one to three figures of one class in any pose, and scraps of clutter
in front of them. Clutter is lines, arcs and scraps that look like no figure. Colours and textures are small random
patterns described without pixels, so that every size shows the same picture.
"""

from __future__ import annotations

import colorsys
import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stmbench.data.shapes.outlines import CLASSES, OUTLINES, Points

Floats = NDArray[np.float32]

GRAIN = 24  # cells per side of the finest noise, at every size
APART = 0.42  # least distance of a figure's colour from the background's, in RGB of [0, 1]
FINER = 3  # antialiasing: drawn this many times larger, then averaged
BEHIND, BEFORE = (6, 14), (0, 3)  # pieces of clutter
COUNTS = (0.6, 0.25, 0.15)  # of one, two, three figures
RADII = {1: (0.20, 0.38), 2: (0.15, 0.24), 3: (0.13, 0.19)}  # of the picture's side
TRIES = 12  # attempts to place a second and third figure
ICON_RADII, ICON_SHIFT = (0.4, 0.5), 0.08  # of the picture's side
ICON_LUMA = (0.25, 0.6)  # of an icon's ground and figure
LUMA = np.array([0.2989, 0.587, 0.114], dtype=np.float32)  # ITU-R 601


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture and its contents.

    `image` (size, size, 3) uint8; `label` into CLASSES, of every figure; `masks` (n, size, size) bool, a figure's
    visible pixels; `boxes` (n, 4) float32, the smallest boxes around the masks: left, top, right, bottom in pixels.
    """

    image: NDArray[np.uint8]
    label: int
    boxes: Floats
    masks: NDArray[np.bool_]


def scene(seed: int, index: int, size: int, *, plain: bool = False, icon: bool = False) -> Scene:
    """Picture `index`. Its label is `index` modulo the number of classes: any range of indices is balanced.

    `plain` leaves out clutter, textures and noise: figures of one colour on a ground of another. An `icon` is such a
    picture of one large figure in the middle, light on a dark ground, both of any hue.
    """
    random = np.random.default_rng((seed, index))
    label, plain = index % len(CLASSES), plain or icon
    ground = colour_of_luma(ICON_LUMA[0], random) if icon else colour(random)
    picture = np.broadcast_to(ground, (size, size, 3)).copy() if plain else _backdrop(ground, random, size)
    covers: list[Floats] = []
    for outline in _poses(CLASSES[label], _middle(random) if icon else _anywhere(random), random):
        cover = _cover(outline, size)
        base = colour_of_luma(ICON_LUMA[1], random) if icon else colour_unlike(ground, random)
        paint = base - picture if plain else surface(base, random, size, strength=0.3) - picture
        paint *= cover[..., None]
        picture += paint
        covers = [seen * (1 - cover) for seen in covers] + [cover]
    if not plain:
        rgb, alpha = _clutter(random, size, BEFORE, 0.035)
        picture = _over(picture, rgb, alpha)
        picture += float(random.uniform(0, 0.05)) * noise(random, GRAIN, size)[..., None]
        covers = [cover * (1 - alpha) for cover in covers]
    masks = np.stack([_mask(cover) for cover in covers])
    image = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return Scene(image=image, label=label, boxes=np.stack([_box(mask) for mask in masks]), masks=masks)


def _backdrop(ground: Floats, random: np.random.Generator, size: int) -> Floats:
    """(size, size, 3) a textured ground with clutter on it."""
    return _over(surface(ground, random, size, strength=0.5), *_clutter(random, size, BEHIND, 0.10))


def _anywhere(random: np.random.Generator) -> list[tuple[float, float, float]]:
    """x, y and radius of one to three figures that hardly overlap."""
    number = int(random.choice(3, p=COUNTS)) + 1
    circles: list[tuple[float, float, float]] = []
    for _ in range(number):
        for _ in range(TRIES):
            radius = random.uniform(*RADII[number])
            x, y = random.uniform(radius * 0.9, 1 - radius * 0.9, 2)
            if all(np.hypot(x - u, y - v) > radius + other for u, v, other in circles):
                circles.append((x, y, radius))
                break
    return circles


def _middle(random: np.random.Generator) -> list[tuple[float, float, float]]:
    """x, y and radius of an icon."""
    x, y = random.uniform(0.5 - ICON_SHIFT, 0.5 + ICON_SHIFT, 2).tolist()
    return [(x, y, float(random.uniform(*ICON_RADII)))]


def _poses(name: str, circles: list[tuple[float, float, float]], random: np.random.Generator) -> list[list[Points]]:
    """The polygons of a figure in each circle, a hole second, in units of the picture's side."""
    outline = OUTLINES[name]
    polygons = [points for points in outline if points is not None]
    poses = []
    for x, y, radius in circles:
        angle, stretch, shear = random.uniform((0, 0.8, -0.2), (2 * np.pi, 1.0, 0.2))
        mirror = 1 if random.random() < 0.5 else -1
        bend = np.array([[mirror, shear], [0, stretch]])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = radius * turn @ bend
        poses.append([points @ matrix.T + (x, y) for points in polygons])
    return poses


def _cover(polygons: list[Points], size: int) -> Floats:
    """(size, size) the fraction of each pixel inside the polygons."""
    canvas = Image.new("L", (size * FINER, size * FINER))
    draw = ImageDraw.Draw(canvas)
    for fill, points in zip((255, 0), polygons, strict=False):
        draw.polygon((points * (size * FINER)).ravel().tolist(), fill=fill)
    return np.asarray(canvas.reduce(FINER), dtype=np.float32) / np.float32(255)


def _clutter(random: np.random.Generator, size: int, number: tuple[int, int], extent: float) -> tuple[Floats, Floats]:
    """(size, size, 3) premultiplied colours and (size, size) coverage of lines, arcs and scraps."""
    side = size * FINER
    # the fourth channel is the coverage; with RGBA, PIL would weight colours by it, which is slow
    canvas = Image.new("RGBX", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(random.integers(*number, endpoint=True))):
        red, green, blue = (int(value * 255) for value in colour(random))
        fill = (red, green, blue, 255)
        kind, (x, y) = int(random.integers(3)), random.uniform(0, side, 2)
        reach, width = random.uniform((0.4, 0.008), (1.6, 0.025)) * side * (extent, 1)
        angle = random.uniform(0, 2 * np.pi)
        if kind == 0:
            dx, dy = 2 * reach * np.cos(angle), 2 * reach * np.sin(angle)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=fill, width=max(1, round(width)))
        elif kind == 1:
            start = np.degrees(angle)
            box = (x - reach, y - reach, x + reach, y + reach)
            draw.arc(box, start, start + random.uniform(40, 160), fill=fill, width=max(1, round(width)))
        else:
            corners = np.sort(random.uniform(0, 2 * np.pi, 7))
            radii = reach * random.uniform(0.25, 0.8, 7)
            scrap = np.stack([x + radii * np.cos(corners), y + radii * np.sin(corners)], axis=1)
            draw.polygon(scrap.ravel().tolist(), fill=fill)
    pixels = np.asarray(canvas.reduce(FINER), dtype=np.float32) / np.float32(255)
    return pixels[..., :3], pixels[..., 3]


def _over(picture: Floats, rgb: Floats, alpha: Floats) -> Floats:
    picture *= 1 - alpha[..., None]
    picture += rgb
    return picture


def _mask(coverage: Floats) -> NDArray[np.bool_]:
    """(size, size) the pixels covered at least half as much as the most covered one; never empty."""
    return np.asarray(coverage >= 0.5 * coverage.max())


def _box(mask: NDArray[np.bool_]) -> Floats:
    """(4,) the smallest box around a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def colour(random: np.random.Generator) -> Floats:
    """(3,) RGB in [0, 1], of any hue, saturation and brightness."""
    hue, saturation, value = random.uniform((0, 0.1, 0.12), 1).tolist()
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32)


def colour_unlike(other: Floats, random: np.random.Generator) -> Floats:
    """(3,) a colour that is clearly different from another one."""
    while True:
        candidate = colour(random)
        if np.square(candidate - other).sum() > APART**2:
            return candidate


def colour_of_luma(luma: float, random: np.random.Generator) -> Floats:
    """(3,) a colour of any hue that is this light in shades of grey."""
    while True:
        candidate = colour(random)
        candidate = candidate * np.float32(luma / float(candidate @ LUMA))
        if candidate.max() <= 1:
            return candidate


@functools.lru_cache(maxsize=8)
def coordinates(size: int) -> tuple[Floats, Floats]:
    """x and y of the pixels' centres in [0, 1], (1, size) and (size, 1)."""
    along: Floats = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return along[None, :], along[:, None]


def noise(random: np.random.Generator, cells: int, size: int) -> Floats:
    """(size, size) smooth noise of about unit deviation, with `cells` bumps per side."""
    grid = random.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def texture(random: np.random.Generator, size: int) -> Floats:
    """(size, size) about 0, of about unit size: stripes, checks, dots, clouds or nothing, at any angle and scale."""
    kind = int(random.integers(5))
    angle, frequency, phase = random.uniform((0, 4, 0), (np.pi, 14, 2 * np.pi)).tolist()
    if kind == 3:
        return noise(random, int(frequency), size)
    if kind == 4:
        return np.zeros((size, size), dtype=np.float32)
    x, y = coordinates(size)
    # Python floats: numpy's would promote every picture to float64
    along, across = 2 * math.pi * frequency * math.cos(angle), 2 * math.pi * frequency * math.sin(angle)
    waves: Floats = np.sin(along * x + across * y + phase)
    if kind in (1, 2):
        waves *= np.sin(along * y - across * x)
        waves = (4 * waves).clip(-1, 1) if kind == 1 else np.abs(waves) * 2 - 1
    return waves


def surface(base: Floats, random: np.random.Generator, size: int, *, strength: float) -> Floats:
    """(size, size, 3) a colour with a texture and a gradient of light; not clipped."""
    tint = base + random.uniform(-strength, strength, 3).astype(np.float32)
    x, y = coordinates(size)
    to_right, down = random.uniform(-0.36, 0.36, 2).tolist()
    light = to_right * (x - 0.5) + down * (y - 0.5)
    weight = 0.5 + 0.5 * texture(random, size)
    picture: Floats = weight[..., None] * (tint - base)
    picture += base
    picture += light[..., None]
    return picture
