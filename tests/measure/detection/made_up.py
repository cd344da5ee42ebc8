"""Made-up objects and detections, and the scores that pycocotools gives them."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Truth = dict[str, Any]
Results = list[dict[str, Any]]


def annotation(identifier: int, image: int, category: int, box: Sequence[float], **more: Any) -> dict[str, Any]:
    """An object; its area is that of the box."""
    area = box[2] * box[3]
    place = {"id": identifier, "image_id": image, "category_id": category}
    return {**place, "bbox": list(box), "area": area, "iscrowd": 0, **more}


def result(image: int, category: int, box: Sequence[float], score: float) -> dict[str, Any]:
    """A detection."""
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def truth_of(annotations: Results, *, images: Sequence[int] = (1,), categories: Sequence[int] = (1,)) -> Truth:
    """A data set of 300 by 400 pixels."""
    return {
        "images": [{"id": image, "height": 300, "width": 400} for image in images],
        "annotations": annotations,
        "categories": [{"id": category, "name": f"class {category}"} for category in categories],
    }


def ellipse(box: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
    """A mask within a box, with holes."""
    left, top, width, height = box
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (x / width * 2 - 1) ** 2 + (y / height * 2 - 1) ** 2 < 1
    return run_lengths(left, top, inside & (rng.random((height, width)) < 0.9))


def run_lengths(left: int, top: int, pixels: np.ndarray) -> dict[str, Any]:
    """A mask that shows `pixels` at a place, as JSON has it."""
    whole = np.zeros((300, 400), dtype=np.uint8, order="F")
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    counts = mask.encode(whole)["counts"]
    return {"size": [300, 400], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def hard_case(seed: int, *, masks: bool = False, images: int = 12, most: int = 8) -> tuple[Truth, Results]:
    """Crowds, tied scores, images without objects or detections, a class without objects, areas at the borders."""
    rng = np.random.default_rng(seed)
    identifiers, categories = rng.permutation(np.arange(10, 10 + images)).tolist(), (9, 2, 5, 7)
    objects, found = [], []
    sides = np.array([8, 32, 32, 60, 96, 96, 140])  # 32^2 and 96^2 belong to two ranges
    for image in identifiers[:-1]:
        for _ in range(int(rng.integers(0, most))):
            box = [*rng.integers(0, 150, 2).tolist(), *([int(rng.choice(sides))] * 2)]
            category, crowd = int(rng.choice(categories[:3])), int(rng.random() < 0.15)
            objects.append(annotation(len(objects) + 1, image, category, box, iscrowd=crowd))
            for _ in range(int(rng.integers(0, 4))):
                moved = (np.array(box) + rng.integers(-6, 7, 4) * (rng.random() < 0.8)).clip(1).tolist()
                other = category if rng.random() < 0.9 else int(rng.choice(categories))
                found.append(result(image, other, moved, float(rng.integers(1, 8)) / 8))
    found.append(result(identifiers[-1], 2, [3, 3, 40, 40], 0.5))
    found = [found[i] for i in rng.permutation(len(found))]
    if masks:
        for item in (*objects, *found):
            item["segmentation"] = ellipse(item["bbox"], rng)
        for item in objects:
            item["area"] = int(mask.area(item["segmentation"])) if rng.random() < 0.7 else 32**2
    return truth_of(objects, images=identifiers, categories=categories), found


def theirs(
    truth: Mapping[str, Any], detections: Results, kind: str, most: tuple[int, ...] = (1, 10, 100)
) -> tuple[list[float], dict[str, Any]]:
    """pycocotools' twelve values, with NaN for -1, and its arrays."""
    detections = copy.deepcopy(detections)
    if kind == "segm":  # beside a box its area would be the box's
        detections = [{name: value for name, value in item.items() if name != "bbox"} for item in detections]
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = copy.deepcopy(dict(truth))
        data.createIndex()
        if detections:
            found = data.loadRes(detections)
        else:  # it cannot load none
            found = COCO()
            found.dataset = {**data.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(data, found, kind)
        evaluation.params.maxDets = list(most)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(values: np.ndarray) -> float:
        known = values[values > -1]
        return float(known.mean()) if known.size else float("nan")

    values = [mean(precision[..., 0, -1]), mean(precision[0, ..., 0, -1]), mean(precision[5, ..., 0, -1])]
    values += [mean(precision[..., area, -1]) for area in (1, 2, 3)]
    values += [mean(recall[..., 0, place]) for place in range(len(most))]
    values += [mean(recall[..., area, -1]) for area in (1, 2, 3)]
    return values, evaluation.eval
