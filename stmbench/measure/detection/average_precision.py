"""COCO's scores, and their bootstrap over images.

The average precision of a class is the mean, over 101 levels of recall, of the highest precision at that recall or a
higher one. Precision rises only at hits, so only they are looked at: each contributes its precision (the highest from
there on) times the levels of recall that are reached with it.

In a resample, an image that is drawn twice counts twice. That needs no new matching and no new sorting: the images'
multiplicities are weights in the running sums, and with all weights 1 these are the scores themselves. Copies of the
image would score the same, except where a hit and a miss of one image and class have the same score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from stmbench.errors import require
from stmbench.measure.bootstrap import image_multiplicities, percentile_interval
from stmbench.measure.detection.matching import AREAS, OVERLAPS, Integers, Kind, Matches, match
from stmbench.measure.effects import Effect
from stmbench.measure.statistics import LEVEL, Floats, Interval

RECALLS: Final = np.linspace(0, 1, 101)
MAX_DETECTIONS: Final = (1, 10, 100)
PREFIXES: Final[dict[str, str]] = {"bbox": "box", "segm": "mask"}
CURVES: Final = ("50", "75", "mean")  # the overlaps at which curves are kept
DRAWS: Final = 1000
VALUES_PER_STEP: Final = 500_000  # weights of a class's detections held at once
_AT_75: Final = 5  # OVERLAPS[5]
# i * 0.01 is above i / 100 for some i: COCO's recall of exactly i % then falls short of that level
_LATE: Final = np.arange(101) / 100 < RECALLS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ApScores:
    """Scores in [0, 1]; NaN where there is no such object.

    Attributes:
        metrics: COCO's twelve by name: box_ap, box_ap50, ... box_ar_large, or mask_ap ...
        by_class: name -> average precision.
        curves: '50', '75' and 'mean' (over the thresholds of overlap) -> (101,) precision at `RECALLS`, the mean over
            classes.
        objects: how many there are to be found; crowds are not.
        matches: what the intervals are made from.
    """

    kind: Kind
    metrics: Mapping[str, float]
    by_class: Mapping[str, float]
    curves: Mapping[str, Floats]
    objects: int
    matches: Matches = dataclasses.field(repr=False)


def score(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    *,
    kind: Kind,
    max_detections: tuple[int, ...] = MAX_DETECTIONS,
) -> ApScores:
    """COCO's scores of detections, as pycocotools has them.

    The area of a detected mask is that of the mask, not of its box.

    Args:
        truth: in COCO's format: images, annotations, categories.
        detections: COCO's results.
        max_detections: of each image and class, ascending; precision is that of the last.

    Raises:
        InputError: a detection in an image or of a category that the truth lacks, or a damaged mask.
        MissingPackageError: masks, without the package that reads them.
    """
    require(
        bool(max_detections) and list(max_detections) == sorted({*max_detections}) and max_detections[0] > 0,
        "ascending numbers of detections",
        max_detections,
    )
    matches = match(truth, detections, kind=kind, most=max_detections[-1])
    precision = [class_precisions(matches, area=index) for index in range(len(AREAS))]  # (K, T, 101) each
    prefix, areas = PREFIXES[kind], list(AREAS)[1:]
    metrics = {"ap": _mean(precision[0]), "ap50": _mean(precision[0][:, 0]), "ap75": _mean(precision[0][:, _AT_75])}
    metrics |= {f"ap_{name}": _mean(values) for name, values in zip(areas, precision[1:], strict=True)}
    metrics |= {f"ar{most}": _mean(_recalls(matches, area=0, most=most)) for most in max_detections}
    metrics |= {
        f"ar_{name}": _mean(_recalls(matches, area=index, most=max_detections[-1]))
        for index, name in enumerate(areas, start=1)
    }
    found = (precision[0][:, 0], precision[0][:, _AT_75], precision[0].mean(axis=1))
    return ApScores(
        kind=kind,
        metrics={f"{prefix}_{name}": value for name, value in metrics.items()},
        by_class={name: float(values.mean()) for name, values in zip(matches.classes, precision[0], strict=True)},
        curves={name: _mean_over_classes(values) for name, values in zip(CURVES, found, strict=True)},
        objects=int(matches.objects[0].sum()),
        matches=matches,
    )


def class_precisions(matches: Matches, *, area: int = 0) -> Floats:
    """(K, T, 101) highest precision at each recall or a higher one; NaN for classes without objects."""
    found = np.zeros((len(matches.classes), len(OVERLAPS), len(RECALLS)))
    found[~matches.objects[area].any(axis=1)] = np.nan
    ones = np.ones((len(matches.image_ids), 1))
    for category, level, highest, steps in _hits(matches, ones, area=area):
        reached = np.repeat(highest[:, 0], steps[:, 0])
        found[category, level, : len(reached)] = reached
    return found


def resampled(matches: Matches, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """(T, draws) average precision over images drawn with replacement: the mean over classes with objects drawn."""
    count = len(matches.image_ids)
    largest = max(int(np.diff(matches.starts).max(initial=1)), count)
    step = max(1, min(draws, VALUES_PER_STEP // largest))
    return np.concatenate(
        [weighted(matches, times.T) for times in image_multiplicities(count, draws=draws, step=step, seed=seed)], axis=1
    )


def weighted(matches: Matches, weights: Floats) -> Floats:
    """(T, B) average precision if images count as often as (I, B) weights say."""
    shape = len(OVERLAPS), weights.shape[1]
    total, classes = np.zeros(shape), np.zeros(shape)
    for _, level, highest, steps in _hits(matches, weights, area=0):
        total[level] += np.einsum("ij,ij->j", highest, steps) / len(RECALLS)
    classes += (matches.objects[0].astype(np.float64) @ weights > 0).sum(axis=0)
    found: Floats = np.divide(total, classes, out=np.full(shape, np.nan), where=classes > 0)
    return found


def intervals(scores: ApScores, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """The three average precisions over all areas, by name, with percentile intervals over images."""
    count = len(scores.matches.image_ids)
    drawn = resampled(scores.matches, draws=draws, seed=seed) if count > 1 else np.empty((len(OVERLAPS), 0))
    return {
        name: percentile_interval(scores.metrics[name], values, count, level=level, omit_nan=True)
        for name, values in _named(scores.kind, drawn).items()
    }


def difference(base: ApScores, head: ApScores, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Effect]:
    """The three average precisions of head minus base, by name, on the same images: both are resampled alike.

    The interval is between percentiles; the p-value is that of a normal difference with the resamples' deviation.
    """
    same = np.array_equal(base.matches.image_ids, head.matches.image_ids)
    if not same or base.kind != head.kind or base.matches.classes != head.matches.classes:
        raise ValueError("expected scores of the same kind on the same images and classes")
    count = len(base.matches.image_ids)
    both = [_named(side.kind, resampled(side.matches, draws=draws, seed=seed)) for side in (base, head)]
    found = {}
    for name, before in both[0].items():
        estimate, drawn = head.metrics[name] - base.metrics[name], both[1][name] - before
        ends = percentile_interval(estimate, drawn, count, omit_nan=True)
        error = float(np.nanstd(drawn)) if count > 1 else np.inf
        found[name] = Effect(estimate=estimate, error=error, count=count, ends=(ends.low, ends.high))
    return found


def _named(kind: Kind, values: Floats) -> dict[str, Floats]:
    """(T, draws) -> the three average precisions."""
    names = [f"{PREFIXES[kind]}_{name}" for name in ("ap", "ap50", "ap75")]
    return dict(zip(names, (values.mean(axis=0), values[0], values[_AT_75]), strict=True))


def _hits(matches: Matches, weights: Floats, *, area: int) -> Iterator[tuple[int, int, Floats, Integers]]:
    """(class, threshold, highest precision from each hit on, levels of recall reached with it), (hits, B) each."""
    objects = matches.objects[area].astype(np.float64) @ weights  # (K, B)
    for category, (start, stop) in enumerate(zip(matches.starts[:-1], matches.starts[1:], strict=True)):
        if not matches.objects[area, category].any():
            continue
        times = weights[matches.image[start:stop]]  # (D, B)
        seen = np.cumsum(times, axis=0)
        for level in range(len(OVERLAPS)):
            hits = np.flatnonzero(matches.hits[area, level, start:stop])
            if not len(hits):
                continue
            ignored = np.flatnonzero(matches.ignored[area, level, start:stop])
            found, counted = np.cumsum(times[hits], axis=0), seen[hits]
            if len(ignored):
                left_out = np.cumsum(np.vstack([np.zeros_like(times[:1]), times[ignored]]), axis=0)
                counted = counted - left_out[np.searchsorted(ignored, hits)]
            precision = found / (counted + np.spacing(1))
            highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            yield category, level, highest, np.diff(_reached(found, objects[category]), axis=0, prepend=0)


def _reached(found: Floats, objects: Floats) -> Integers:
    """How many of the levels of recall `found` of `objects` reach; (n, B) and (B,) whole numbers -> (n, B)."""
    of = np.maximum(objects, 1)
    percent = 100 * found
    whole = (percent / of).astype(np.int64)
    levels: Integers = whole + 1 - (_LATE[whole] & (whole * of == percent))
    return levels


def _recalls(matches: Matches, *, area: int, most: int) -> Floats:
    """(K, T) recall of the best `most` detections of each image and class; NaN for classes without objects."""
    shape = len(matches.classes), len(OVERLAPS)
    level, detection = np.nonzero(matches.hits[area] & (matches.rank < most))
    category = np.searchsorted(matches.starts, detection, side="right") - 1
    found = np.bincount(category * shape[1] + level, minlength=shape[0] * shape[1]).reshape(shape)
    objects = matches.objects[area].sum(axis=1)[:, None]
    recalls: Floats = np.divide(found, objects, out=np.full(shape, np.nan), where=objects > 0)
    return recalls


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _mean_over_classes(values: Floats) -> Floats:
    """(K, 101) -> (101,) over the classes that have objects."""
    known = values[~np.isnan(values[:, 0])]
    return known.mean(axis=0) if len(known) else np.full(len(RECALLS), np.nan)
