"""A file of annotations in COCO's format: read once, checked annotation by annotation, and kept as arrays."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmbench.data.detection.run_lengths import Counts, counts_of
from stmbench.data.image_set import Labels
from stmbench.errors import InputError

SLACK = 2.0  # pixels by which a box may stick out of its image: rounding
LONGEST = 1_000_000  # pixels of an image's side
_NUMBERS = {int, float}
PARTS = ("images", "annotations", "categories")
Polygons = list[NDArray[np.float64]]
Segmentation = Counts | Polygons


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CocoFile:
    """The images in the order of the file, and the annotations in the order of the images.

    `boxes` (N, 4) left, top, width, height as the file has them; `labels` (N,) from 1; those of image i are the rows
    from starts[i] to starts[i + 1]. `damaged` has a sentence for each annotation that was left out.
    """

    sha: str
    names: tuple[str, ...]
    image_ids: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]  # (H, W)
    categories: tuple[str, ...]
    category_ids: tuple[int, ...]
    starts: Labels
    boxes: NDArray[np.float64]
    labels: Labels
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]
    segmentations: tuple[Segmentation | None, ...]
    remarks: tuple[str, ...]
    damaged: tuple[str, ...]


def read_coco(path: Path) -> CocoFile:
    """The content of a file; read again only where it has changed.

    Raises:
        InputError: no such file, or not COCO's format.
    """
    try:
        status = path.stat()
        return _read(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        got = f"{path.name!r} ({error.strerror or error})"
        raise InputError("a file of annotations that can be read", got, "correct the path") from error


@functools.lru_cache(maxsize=4)
def _read(path: Path, changed_ns: int, size: int) -> CocoFile:
    content = path.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        got = f"{path.name} ({str(error)[:120]})"
        raise InputError("annotations in JSON", got, "fetch or write the file again") from error
    if not isinstance(found, dict) or any(not isinstance(found.get(part), list) for part in PARTS):
        missing = [part for part in PARTS if not isinstance(found, dict) or not isinstance(found.get(part), list)]
        got = f"no list of {' and '.join(missing)} in {path.name}"
        raise InputError(f"COCO's {', '.join(PARTS)}", got, "give the file of instances")
    return checked(found, path.name, hashlib.sha256(content).hexdigest())


def checked(found: Mapping[str, list[Any]], file: str, sha: str) -> CocoFile:
    """The content of a file that has the three parts. Raises InputError for images or categories that are none."""
    categories, remarks = _categories(found["categories"], file)
    images = found["images"]
    if not images:
        raise InputError("at least one image", f"none in {file}", "give another file")
    for number, image in enumerate(images):
        if not _is_image(image):
            expected = f"a whole id, a file_name, and a width and height from 1 to {LONGEST} for every image"
            raise InputError(expected, f"{str(image)[:120]} as image {number} of {file}", "correct the file")
    ids = _distinct([image["id"] for image in images], "image", file)
    sizes = [(image["height"], image["width"]) for image in images]
    rows = {number: row for row, number in enumerate(ids)}
    labels = {number: label for label, number in enumerate(categories, 1)}
    kept, damaged, seen = [], [], set()
    for number, annotation in enumerate(found["annotations"]):
        key = annotation.get("id") if isinstance(annotation, dict) else None
        item = f"an id that an earlier one has ({key!r})" if isinstance(key, int | str) and key in seen else None
        if item is None and isinstance(key, int | str):
            seen.add(key)
        result = item or _annotation(annotation, rows, labels, sizes)
        if isinstance(result, str):
            title = f"annotation {number}" if key is None else f"annotation {str(key)[:40]}"
            damaged.append(f"{title} of {file}: {result}")
        else:
            kept.append(result)
    kept.sort(key=lambda item: item.row)  # stable: the order of the file within an image
    segmentations = tuple(item.segmentation for item in kept)
    without = sum(segmentation is None for segmentation in segmentations)
    if 0 < without < len(kept):
        remarks.append(f"{file}: {without} of {len(kept)} annotations have no segmentation, so the set has no masks")
    return CocoFile(
        sha=sha,
        names=tuple(image["file_name"] for image in images),
        image_ids=tuple(ids),
        sizes=tuple(sizes),
        categories=tuple(categories.values()),
        category_ids=tuple(categories),
        starts=np.searchsorted([item.row for item in kept], np.arange(len(images) + 1)).astype(np.int64),
        boxes=np.array([item.box for item in kept], dtype=np.float64).reshape(-1, 4),
        labels=np.array([item.label for item in kept], dtype=np.int64),
        crowd=np.array([item.crowd for item in kept], dtype=np.bool_),
        area=np.array([item.area for item in kept], dtype=np.float64),
        segmentations=segmentations,
        remarks=tuple(remarks),
        damaged=tuple(damaged),
    )


def _categories(found: list[Any], file: str) -> tuple[dict[int, str], list[str]]:
    """id -> name, in the order of the ids, and what was done to the names."""
    for category in found:
        if not isinstance(category, dict) or type(category.get("id")) is not int or not _is_name(category.get("name")):
            got = f"{str(category)[:120]} in {file}"
            raise InputError("a whole id and a name for every category", got, "correct the file")
    if not found:
        raise InputError("at least one category", f"none in {file}", "give another file")
    _distinct([category["id"] for category in found], "category", file)
    ordered = sorted(found, key=lambda category: int(category["id"]))
    uses = Counter(category["name"] for category in ordered)
    twice = [name for name, count in uses.items() if count > 1]
    names = {
        category["id"]: f"{category['name']} ({category['id']})" if category["name"] in twice else category["name"]
        for category in ordered
    }
    remarks = [f"{file}: several categories are called {name}, so their ids were added" for name in twice]
    return names, remarks


def _is_image(image: Any) -> bool:
    if not isinstance(image, dict) or type(image.get("id")) is not int or not _is_name(image.get("file_name")):
        return False
    return all(type(image.get(side)) is int and 0 < image[side] <= LONGEST for side in ("height", "width"))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip("\0 "))


def _distinct(ids: list[int], what: str, file: str) -> list[int]:
    if len(set(ids)) < len(ids):
        twice = next(number for number, count in Counter(ids).items() if count > 1)
        raise InputError(f"a different id for every {what}", f"{twice} more than once in {file}", "correct the file")
    return ids


@dataclasses.dataclass(frozen=True, slots=True)
class _Annotation:
    row: int
    label: int
    box: tuple[float, float, float, float]
    crowd: bool
    area: float
    segmentation: Segmentation | None


def _annotation(
    found: Any, rows: Mapping[int, int], labels: Mapping[int, int], sizes: list[tuple[int, int]]
) -> _Annotation | str:
    """The annotation, or what is wrong with it."""
    if not isinstance(found, dict):
        return "not an object"
    image, category = found.get("image_id"), found.get("category_id")
    if type(image) is not int or image not in rows:
        return f"an unknown image ({str(image)[:40]})"
    if type(category) is not int or category not in labels:
        return f"an unknown category ({str(category)[:40]})"
    size = sizes[rows[image]]
    box = found.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not _are_numbers(box):
        return "no bbox of four numbers"
    if (wrong := _box_problem(box, size)) is not None:
        return wrong
    area = found.get("area", box[2] * box[3])
    if not _are_numbers([area]) or not 0 <= area <= (size[0] + 2 * SLACK) * (size[1] + 2 * SLACK):
        return f"an area of {str(area)[:40]}"
    segmentation = _segmentation(found.get("segmentation"), size)
    if isinstance(segmentation, str):
        return segmentation
    left, top, width, height = map(float, box)
    crowd = bool(found.get("iscrowd", 0))
    return _Annotation(rows[image], labels[category], (left, top, width, height), crowd, float(area), segmentation)


def _are_numbers(values: list[Any]) -> bool:
    if not {*map(type, values)} <= _NUMBERS:  # faster than a loop: polygons have millions
        return False
    try:
        return math.isfinite(sum(values))
    except OverflowError:  # a whole number beyond the floats
        return False


def _box_problem(box: list[float], size: tuple[int, int]) -> str | None:
    left, top, width, height = box
    right, bottom = left + width, top + height
    if width <= 0 or height <= 0:
        return f"a box of no area ({width:g} x {height:g})"
    high, wide = size
    out = max(-left, -top, right - wide, bottom - high)
    inside = min(right, wide) > max(left, 0) and min(bottom, high) > max(top, 0)
    if out > SLACK or not inside:
        return f"a box outside of its image ({left:g}, {top:g} to {right:g}, {bottom:g} in {wide} x {high})"
    return None


def _segmentation(found: Any, size: tuple[int, int]) -> Segmentation | str | None:
    """Run lengths or polygons; None where there is none; or what is wrong with it."""
    if not found:
        return None
    if isinstance(found, dict):
        if found.get("size") != list(size):
            return f"a mask of {str(found.get('size'))[:40]} for an image of {list(size)} (height, width)"
        counts = counts_of(found.get("counts"), size)
        return "run lengths that do not make up a mask" if counts is None else counts
    if not isinstance(found, list):
        return "a segmentation that is neither polygons nor run lengths"
    for polygon in found:
        if not isinstance(polygon, list) or len(polygon) % 2 or not _are_numbers(polygon):
            return "a polygon that is no list of x, y, x, y, ..."
        if len(polygon) < 6:
            return f"a polygon of {len(polygon) // 2} points"
    polygons = [np.array(polygon, dtype=np.float64) for polygon in found]
    reach = max(size)  # pixels outside are cut off, but the time to draw grows with the distance
    if any(polygon.min() < -reach or polygon.max() > 2 * reach for polygon in polygons):
        return "a polygon far outside of its image"
    return polygons
