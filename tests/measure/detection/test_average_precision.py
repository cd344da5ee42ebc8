"""COCO's scores: equal to pycocotools' on hard cases, and to values computed by hand."""

from __future__ import annotations

import copy
import re
import sys

import numpy as np
import pytest

from stmbench.errors import ConfigError, InputError, MissingPackageError
from stmbench.measure.detection.average_precision import score
from tests.measure.detection.made_up import annotation, hard_case, result, run_lengths, theirs, truth_of

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def names(prefix: str, most: tuple[int, ...]) -> list[str]:
    recalls = [*(f"ar{number}" for number in most), "ar_small", "ar_medium", "ar_large"]
    return [f"{prefix}_{name}" for name in (*NAMES, *recalls)]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("most", [(1, 10, 100), (1, 2, 3)])
@pytest.mark.parametrize("seed", range(6))
def test_hard_cases_score_as_with_pycocotools(kind: str, most: tuple[int, ...], seed: int) -> None:
    truth, detections = hard_case(seed, masks=kind == "segm")
    before = copy.deepcopy((truth, detections))
    ours = score(truth, detections, kind=kind, max_detections=most)
    values, arrays = theirs(truth, detections, kind, most)
    assert (truth, detections) == before
    assert dict(ours.metrics) == pytest.approx(
        dict(zip(names({"bbox": "box", "segm": "mask"}[kind], most), values, strict=True)), abs=1e-9, nan_ok=True
    )
    assert 0 < values[0] < 1
    precision = arrays["precision"][..., 0, -1]  # (T, 101, K)
    precision[precision == -1] = np.nan
    assert list(ours.by_class) == ["class 2", "class 5", "class 7", "class 9"]
    assert list(ours.by_class.values()) == pytest.approx(precision.mean(axis=(0, 1)), abs=1e-9, nan_ok=True)
    assert ours.curves["50"] == pytest.approx(np.nanmean(precision[0], axis=1), abs=1e-9)
    assert ours.curves["mean"] == pytest.approx(np.nanmean(precision, axis=(0, 2)), abs=1e-9)


def test_a_case_computed_by_hand() -> None:
    """Two objects; by score a hit (overlap 0.8), a miss and an exact hit: precision 1 to recall 1/2, then 2/3."""
    truth = truth_of([annotation(1, 1, 1, [10, 10, 100, 100]), annotation(2, 1, 1, [200, 100, 20, 20])])
    detections = [
        result(1, 1, [10, 10, 100, 80], 0.9),
        result(1, 1, [300, 200, 50, 50], 0.8),
        result(1, 1, [200, 100, 20, 20], 0.7),
    ]
    found = score(truth, detections, kind="bbox").metrics
    both, one = (51 + 50 * 2 / 3) / 101, 51 * (1 / 3) / 101  # beyond 0.8 the first is a miss: 1/3 up to recall 1/2
    assert found["box_ap50"] == pytest.approx(both, abs=1e-12)
    assert found["box_ap75"] == pytest.approx(both, abs=1e-12)
    assert found["box_ap"] == pytest.approx((7 * both + 3 * one) / 10, abs=1e-12)
    assert found["box_ap_small"] == pytest.approx(1.0)  # misses of other sizes do not count
    assert (found["box_ar1"], found["box_ar10"]) == pytest.approx((7 / 20, 17 / 20))
    assert np.isnan(found["box_ap_medium"])
    assert found["box_ar_large"] == pytest.approx(0.7)


@pytest.mark.parametrize("seed", range(3))
def test_perfect_boxes_score_one_and_shifted_ones_what_they_score_with_pycocotools(seed: int) -> None:
    truth, _ = hard_case(seed)
    things = [item for item in truth["annotations"] if not item["iscrowd"]]
    perfect = [result(item["image_id"], item["category_id"], item["bbox"], 0.5) for item in things]
    unique = {(item["image_id"], item["category_id"], *item["bbox"]) for item in things}
    found = score(truth, perfect, kind="bbox")
    assert len(unique) == len(things) == found.objects
    assert found.metrics["box_ap"] == pytest.approx(1.0, abs=1e-12)
    assert found.metrics["box_ar100"] == pytest.approx(1.0, abs=1e-12)
    moved = [{**item, "bbox": [item["bbox"][0] + 1, *item["bbox"][1:]]} for item in perfect]
    shifted = score(truth, moved, kind="bbox").metrics
    assert list(shifted.values()) == pytest.approx(theirs(truth, moved, "bbox")[0], abs=1e-9, nan_ok=True)
    assert 0.8 < shifted["box_ap"] < 1


def test_without_detections_recall_and_precision_are_zero() -> None:
    truth, _ = hard_case(0)
    found = score(truth, [], kind="bbox")
    assert list(found.metrics.values()) == pytest.approx(theirs(truth, [], "bbox")[0], abs=1e-9, nan_ok=True)
    assert found.metrics["box_ap"] == 0
    assert not found.curves["mean"].any()


def test_without_objects_nothing_is_defined() -> None:
    found = score(truth_of([]), [result(1, 1, [0, 0, 9, 9], 0.5)], kind="bbox")
    assert np.isnan(list(found.metrics.values())).all()
    assert np.isnan(found.curves["50"]).all()
    assert found.objects == 0


def test_detections_beyond_the_limit_do_not_count() -> None:
    truth = truth_of([annotation(1, 1, 1, [0, 0, 50, 50])])
    misses = [result(1, 1, [200, 100, 40, 40], 0.9)] * 100
    hit = result(1, 1, [0, 0, 50, 50], 0.1)
    assert score(truth, [*misses, hit], kind="bbox").metrics["box_ar100"] == 0
    found = score(truth, [*misses[1:], hit], kind="bbox").metrics
    assert (found["box_ar10"], found["box_ar100"]) == (0, 1)
    assert found["box_ap"] == pytest.approx(0.01)
    more = score(truth, [*misses, hit], kind="bbox", max_detections=(1, 10, 300)).metrics
    assert (more["box_ar300"], more["box_ap"]) == (1, pytest.approx(1 / 101))


def test_polygons_are_masks_too() -> None:
    square = [[10, 10, 60, 10, 60, 60, 10, 60]]
    truth = truth_of([annotation(1, 1, 1, [10, 10, 50, 50], segmentation=square)])
    detections = [{**result(1, 1, [0, 0, 1, 1], 0.5), "segmentation": run_lengths(10, 10, np.ones((40, 50)))}]
    found = score(truth, detections, kind="segm").metrics
    assert list(found.values()) == pytest.approx(theirs(truth, detections, "segm")[0], abs=1e-9, nan_ok=True)
    assert found["mask_ap"] == pytest.approx(0.7)  # an overlap of 0.8


@pytest.mark.parametrize(
    ("field", "message"),
    [("image_id", "an image of the truth, got image 99"), ("category_id", "a category of the truth, got category 99")],
)
def test_detections_of_something_else_are_refused(field: str, message: str) -> None:
    truth = truth_of([annotation(1, 1, 1, [0, 0, 50, 50])])
    with pytest.raises(InputError, match=message):
        score(truth, [{**result(1, 1, [0, 0, 9, 9], 0.5), field: 99}], kind="bbox")


@pytest.mark.parametrize(
    ("size", "code"), [([300, 400], "abc"), ([300, 400], "o" * 30), ([300, 400], [200_000]), ([400, 300], [120_000])]
)
def test_damaged_masks_are_refused_in_one_line(size: list[int], code: object) -> None:
    truth = truth_of([annotation(1, 1, 1, [0, 0, 9, 9], segmentation=run_lengths(0, 0, np.ones((9, 9))))])
    damaged = {**result(1, 1, [0, 0, 9, 9], 0.5), "segmentation": {"size": size, "counts": code}}
    with pytest.raises(InputError, match="expected a mask of its image"):
        score(truth, [damaged], kind="segm")


@pytest.mark.parametrize("most", [(), (10, 1), (0, 10), (1, 1)])
def test_numbers_of_detections_ascend(most: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="ascending numbers of detections"):
        score(truth_of([]), [], kind="bbox", max_detections=most)


def test_masks_without_the_package_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval.core", None)
    truth, found = hard_case(0, masks=True)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'stmbench[detection]'")):
        score(truth, found, kind="segm")
    assert score(truth, found, kind="bbox").metrics["box_ap"] > 0  # boxes need none


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    truth, found = hard_case(0, masks=True)
    score(truth, found, kind="segm")
    assert capfd.readouterr() == ("", "")
