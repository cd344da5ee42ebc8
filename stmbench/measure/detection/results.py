"""Detections in COCO's format: one entry for each, with image_id, category_id, bbox, score and perhaps segmentation.

Numbers are written so that they read back the same: scores that differ stay apart, and tied ones stay tied.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from stmbench.errors import InputError
from stmbench.measure.detection.average_precision import ApScores, resampled, score
from stmbench.measure.detection.matching import run_lengths
from stmbench.measure.statistics import Floats
from stmbench.tables.files import write_file

MASK_THRESHOLD: Final = 0.5
_REMEDY: Final = "write it again with stmbench, or correct that entry"


def detections_of(image_id: int, output: Mapping[str, Any], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """A detector's output for one image as COCO's results.

    Detections whose box or score is not finite are left out: a detector that diverged has none to show.

    Args:
        output: boxes (n, 4) left, top, right, bottom; scores (n,); labels (n,) from 1; perhaps masks (n, 1, H, W) of
            probabilities, of which more than 0.5 is inside.
        category_ids: of the labels, in their order.

    Raises:
        ValueError: a label that has no category.
    """
    boxes, scores, labels = (
        np.asarray(output[name].detach().cpu(), dtype=np.float64) for name in ("boxes", "scores", "labels")
    )
    if len(labels) and not 1 <= labels.min() <= labels.max() <= len(category_ids):
        raise ValueError(f"expected labels from 1 to {len(category_ids)}, got {labels.min():.0f} to {labels.max():.0f}")
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = np.flatnonzero(np.isfinite(boxes).all(axis=1) & np.isfinite(scores))
    found: list[dict[str, Any]] = [
        {
            "image_id": int(image_id),
            "category_id": int(category_ids[int(labels[i]) - 1]),
            "bbox": sides[i].tolist(),
            "score": float(scores[i]),
        }
        for i in kept
    ]
    if "masks" in output and len(kept):
        inside = (output["masks"][kept, 0] > MASK_THRESHOLD).cpu().numpy().astype(np.uint8)
        for item, mask in zip(found, run_lengths().encode(np.asfortranarray(inside.transpose(1, 2, 0))), strict=True):
            counts = mask["counts"]
            text = counts.decode("ascii") if isinstance(counts, bytes) else counts
            item["segmentation"] = {"size": [int(side) for side in mask["size"]], "counts": text}
    return found


def write_detections(path: Path, detections: Sequence[Mapping[str, Any]]) -> None:
    """Write COCO's results as JSON, one per line, at once. Raises OutputError."""
    lines = ",\n".join(json.dumps(item, allow_nan=False, separators=(",", ":")) for item in detections)
    write_file(path, f"[{lines}]\n")


def read_detections(path: Path) -> list[dict[str, Any]]:
    """COCO's results from a file, also one that another program wrote.

    Raises:
        InputError: a file that cannot be read, or an entry that is no detection.
    """
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("a file of detections", f"{path}: {error.strerror or error}", "check the path") from error
    except ValueError as error:
        raise InputError(f"JSON in {path}", str(error), "write it again") from error
    if not isinstance(items, list):
        raise InputError(f"a list of detections in {path}", type(items).__name__, "give COCO's results")
    for number, item in enumerate(items, start=1):
        if (fault := _fault(item)) is not None:
            raise InputError(*fault, f"in entry {number} of {path.name}: {_REMEDY}")
    return items


def _fault(item: Any) -> tuple[str, str] | None:
    """What was expected of a detection, and what is there instead; None for a right one."""
    if not isinstance(item, dict):
        return "a detection", repr(item)
    for name in ("image_id", "category_id"):
        if not isinstance(item.get(name), int) or isinstance(item[name], bool):
            return f"a whole number as {name}", repr(item.get(name))
    if not _is_finite(item.get("score")):
        return "a finite score", repr(item.get("score"))
    box, mask = item.get("bbox"), item.get("segmentation")
    if box is None and mask is None:
        return "a bbox or a segmentation", "neither"
    if box is not None and not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
        return "a bbox of four finite numbers: left, top, width, height", repr(box)
    if box is not None and min(box[2:]) < 0:
        return "a bbox whose width and height are not negative", repr(box)
    if mask is not None and not (isinstance(mask, dict) and {"size", "counts"} <= set(mask)):
        return "a segmentation of run lengths: size and counts", repr(mask)[:80]
    return None


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consistency:
    """How well boxes found at another scale agree with those at the first: their average precision.

    Attributes:
        boxes: detections of the reference that count as objects.
        scores: with the certain boxes of the reference as the objects; NaN if there are none.
    """

    boxes: int
    scores: ApScores

    @property
    def value(self) -> float:
        """Average precision of boxes; 1 if all are found in the same places."""
        return self.scores.metrics["box_ap"]

    def drawn(self, *, seed: int = 0) -> Floats:
        """(draws,) its value over images drawn with replacement; NaN where these have no objects. None for one image.

        Of the same number of images the draws are the same, so that values at two scales can be subtracted.
        """
        matches = self.scores.matches
        return resampled(matches, seed=seed).mean(axis=0) if len(matches.image_ids) > 1 else np.empty(0)


def consistency(
    reference: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
    images: Sequence[int],
    threshold: float,
) -> Consistency:
    """Whether a detector finds in scaled images what it found in the original ones.

    Args:
        reference: results at the original scale; those with a score of at least `threshold` are the objects.
        other: results of the scaled images, mapped back; all of them count.
        images: the ids of all images, also of those without any detection.
    """
    certain = [item for item in reference if item["score"] >= threshold]
    objects = [
        {
            "id": number,
            "image_id": item["image_id"],
            "category_id": item["category_id"],
            "bbox": item["bbox"],
            "area": item["bbox"][2] * item["bbox"][3],
            "iscrowd": 0,
        }
        for number, item in enumerate(certain, start=1)
    ]
    categories = sorted({item["category_id"] for item in (*reference, *other)})
    truth = {
        "images": [{"id": image} for image in images],
        "annotations": objects,
        "categories": [{"id": category, "name": str(category)} for category in categories],
    }
    return Consistency(boxes=len(certain), scores=score(truth, other, kind="bbox"))
