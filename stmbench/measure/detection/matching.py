"""Which detection meets which object, by COCO's rules.

In each image and class, detections choose in the order of their scores. One takes the free object with which it
overlaps most, if intersection over union reaches the threshold; of equal overlaps the last. Crowds, and objects outside
the range of areas, are taken only where no other object can be; such a detection is ignored, neither hit nor miss, and
so is one outside the range without an object. A crowd can be taken any number of times, and its overlap is relative to
the detection alone.

Only pairs that reach the lowest threshold matter. They are few, so the k-th detections of all images and classes choose
at once, at all thresholds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stmbench.errors import InputError, MissingPackageError
from stmbench.measure.statistics import Floats

Kind: TypeAlias = Literal["bbox", "segm"]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

OVERLAPS: Final = np.linspace(0.5, 0.95, 10)  # thresholds of intersection over union
AREAS: Final = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """The fate of D detections in I images of K classes, for A ranges of areas and T thresholds of overlap.

    Detections are sorted by class, then from the highest score to the lowest, then by image.

    Attributes:
        image_ids: (I,), sorted; `classes`: names, sorted by category id.
        image: (D,) index of the image; `score`: (D,); `rank`: (D,) 0 for the best of its image and class.
        starts: (K + 1,) where each class starts among the detections.
        hits, ignored: (A, T, D).
        objects: (A, K, I) objects to be found.
    """

    image_ids: Integers
    classes: tuple[str, ...]
    image: Integers
    score: Floats
    rank: Integers
    starts: Integers
    hits: Flags
    ignored: Flags
    objects: Integers


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Regions:
    """Boxes or masks, sorted by class and image; `key` is class * images + image."""

    key: Integers
    score: Floats
    boxes: Floats  # (n, 4) left, top, width, height; of masks empty
    masks: list[dict[str, Any]]  # run lengths; of boxes empty
    area: Floats
    crowd: Flags


def match(truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], *, kind: Kind, most: int) -> Matches:
    """Match detections with objects.

    Args:
        truth: in COCO's format: images, annotations, categories.
        detections: COCO's results.
        most: detections of each image and class that count.

    Raises:
        InputError: a detection in an image or of a category that the truth lacks, or a damaged mask.
        MissingPackageError: masks, without the package that reads them.
    """
    image_ids = np.unique(np.asarray([image["id"] for image in truth["images"]], dtype=np.int64))
    names = {int(category["id"]): str(category["name"]) for category in truth["categories"]}
    category_ids = np.asarray(sorted(names), dtype=np.int64)
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in truth["images"]}
    objects = _regions(truth["annotations"], image_ids, category_ids, sizes, kind)
    found = _regions(detections, image_ids, category_ids, sizes, kind)
    count = len(image_ids)
    first = np.searchsorted(found.key, found.key)
    rank = np.arange(len(found.key)) - first
    pairs = _pairs(found, objects, rank < most, kind)
    hits, ignored = _choose(found, objects, *pairs)

    kept = np.flatnonzero(rank < most)
    category = found.key[kept] // max(count, 1)
    kept = kept[np.lexsort((-found.score[kept], category))]  # stable: equal scores stay in the order of images
    category, image = np.divmod(found.key[kept], max(count, 1))
    shape = len(category_ids), count
    present = np.stack([np.bincount(objects.key[_inside(objects, name)], minlength=shape[0] * count) for name in AREAS])
    return Matches(
        image_ids=image_ids,
        classes=tuple(names[identifier] for identifier in category_ids),
        image=image,
        score=found.score[kept],
        rank=rank[kept],
        starts=np.searchsorted(category, np.arange(len(category_ids) + 1)),
        hits=hits[:, :, kept],
        ignored=ignored[:, :, kept],
        objects=present.reshape(len(AREAS), *shape),
    )


def run_lengths() -> Any:
    """The module that reads and writes masks as run lengths. Raises MissingPackageError."""
    try:
        from faster_coco_eval.core import mask
    except ImportError as error:
        raise MissingPackageError("faster-coco-eval", "masks of detections", "detection") from error
    return mask


def _regions(
    items: Sequence[Mapping[str, Any]],
    image_ids: Integers,
    category_ids: Integers,
    sizes: Mapping[int, tuple[int, int]],
    kind: Kind,
) -> _Regions:
    """Annotations, or detections: those have a score."""
    images = _index([item["image_id"] for item in items], image_ids, "image")
    categories = _index([item["category_id"] for item in items], category_ids, "category")
    score = np.asarray([item.get("score", 0.0) for item in items], dtype=np.float64)
    key = categories * len(image_ids) + images
    order = np.lexsort((-score, key))  # stable
    boxes, masks, mask_area = np.zeros((0, 4)), list[dict[str, Any]](), np.zeros(0)
    if kind == "bbox":
        boxes = np.asarray([item["bbox"] for item in items], dtype=np.float64).reshape(-1, 4)[order]
    else:
        masks, mask_area = _masks([(items[i]["segmentation"], sizes[items[i]["image_id"]]) for i in order])
    if any("score" not in item for item in items):
        area = np.asarray([items[i]["area"] for i in order], dtype=np.float64)
    else:
        area = boxes[:, 2] * boxes[:, 3] if kind == "bbox" else mask_area
    crowd = np.asarray([bool(items[i].get("iscrowd", 0)) for i in order], dtype=bool)
    return _Regions(key=key[order], score=score[order], boxes=boxes, masks=masks, area=area, crowd=crowd)


def _index(identifiers: list[int], known: Integers, what: str) -> Integers:
    """The place of each identifier among the known ones, which are sorted."""
    wanted = np.asarray(identifiers, dtype=np.int64)
    places = np.searchsorted(known, wanted)
    strange = wanted[known[np.minimum(places, len(known) - 1)] != wanted] if len(known) else wanted
    if len(strange):
        remedy = "score detections against the data set that they were made on"
        raise InputError(f"an {what} of the truth" if what == "image" else f"a {what} of the truth",
                         f"{what} {strange[0]}", remedy)  # fmt: skip
    return places.astype(np.int64)


def _masks(segmentations: Sequence[tuple[Any, tuple[int, int]]]) -> tuple[list[dict[str, Any]], Floats]:
    """Compressed run lengths and areas, of polygons or run lengths of either kind, each with (height, width)."""
    found: list[dict[str, Any]] = []
    library = run_lengths()
    try:
        for mask, size in segmentations:
            text = isinstance(mask, Mapping) and not isinstance(mask["counts"], list)
            found.append(dict(mask) if text else library.segmToRle(mask, size[1], size[0]))
            if tuple(found[-1]["size"]) != size:
                raise ValueError(f"one of {found[-1]['size']} in an image of {list(size)}")
        area = np.asarray(library.area(found) if found else [], dtype=np.float64)
    except (ValueError, RuntimeError) as error:
        raise InputError("a mask of its image", str(error), "make the detections again") from error
    return found, area


def _inside(regions: _Regions, area: str) -> Flags:
    """Which regions are to be found: no crowds, and an area within both ends of the range."""
    low, high = AREAS[area]
    inside: Flags = ~regions.crowd & (low <= regions.area) & (regions.area <= high)
    return inside


def _pairs(found: _Regions, objects: _Regions, kept: Flags, kind: Kind) -> tuple[Integers, Integers, Floats]:
    """(detection, object, overlap) of all pairs of one image and class that reach the lowest threshold."""
    low = np.searchsorted(objects.key, found.key)
    each = np.where(kept, np.searchsorted(objects.key, found.key, side="right") - low, 0)
    detection = np.repeat(np.arange(len(each)), each)
    before = np.cumsum(each) - each
    thing = (low - before)[detection] + np.arange(len(detection))
    overlap = (_box_overlaps if kind == "bbox" else _mask_overlaps)(found, objects, detection, thing)
    enough = overlap >= OVERLAPS[0]
    return detection[enough], thing[enough], overlap[enough]


def _box_overlaps(found: _Regions, objects: _Regions, detection: Integers, thing: Integers) -> Floats:
    a, b = found.boxes[detection].T, objects.boxes[thing].T
    width = np.minimum(a[0] + a[2], b[0] + b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[1] + a[3], b[1] + b[3]) - np.maximum(a[1], b[1])
    both = np.where((width > 0) & (height > 0), width * height, 0.0)
    own = a[2] * a[3]
    either = np.where(objects.crowd[thing], own, own + b[2] * b[3] - both)
    overlap: Floats = np.divide(both, either, out=np.zeros_like(both), where=both > 0)
    return overlap


def _mask_overlaps(found: _Regions, objects: _Regions, detection: Integers, thing: Integers) -> Floats:
    overlap = np.zeros(len(detection))
    key = found.key[detection]
    bounds = [*np.flatnonzero(np.diff(key, prepend=-1)), len(key)]
    for start, stop in itertools.pairwise(bounds):  # one image and class: all with all
        those, things = np.unique(detection[start:stop]), np.unique(thing[start:stop])
        pair = [found.masks[i] for i in those], [objects.masks[i] for i in things]
        table = run_lengths().iou(*pair, [int(objects.crowd[i]) for i in things])
        overlap[start:stop] = np.asarray(table).ravel()  # detections outside, objects inside, as in the pairs
    return overlap


def _choose(
    found: _Regions, objects: _Regions, detection: Integers, thing: Integers, overlap: Floats
) -> tuple[Flags, Flags]:
    """Whether each detection is a hit, and whether it is ignored: (A, T, detections) each."""
    shape = len(AREAS), len(OVERLAPS), len(found.key)
    hits, ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    # the n-th detection of an image and class that has a pair chooses in round n
    choosers, places = np.unique(detection, return_inverse=True)
    groups = found.key[choosers]
    turn = (np.arange(len(choosers)) - np.searchsorted(groups, groups))[places]
    bounds = np.searchsorted(np.sort(turn), np.arange(turn.max(initial=-1) + 2))
    for index, name in enumerate(AREAS):
        extra = ~_inside(objects, name)
        low, high = AREAS[name]
        order = np.lexsort((-thing, -overlap, extra[thing], detection, turn))  # the best first
        free = np.ones((len(OVERLAPS), len(objects.key)), dtype=bool)
        ignored[index] = (found.area < low) | (found.area > high)
        for chosen in (order[start:stop] for start, stop in itertools.pairwise(bounds)):
            who, what, number = detection[chosen], thing[chosen], len(chosen)
            possible = (overlap[chosen] >= OVERLAPS[:, None]) & (free[:, what] | objects.crowd[what])
            firsts = np.flatnonzero(np.diff(who, prepend=-1))
            best = np.minimum.reduceat(np.where(possible, np.arange(number), number), firsts, axis=1)  # (T, choosers)
            level, which = np.nonzero(best < number)
            taken, by = what[best[level, which]], who[firsts[which]]
            free[level, taken] = False
            hits[index, level, by] = ~extra[taken]
            ignored[index, level, by] = extra[taken]
    return hits, ignored
