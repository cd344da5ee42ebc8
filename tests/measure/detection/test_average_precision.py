"""COCO's scores: equal to pycocotools' on hard cases, to values computed by hand, and with their bootstrap."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from stmbench.measure.detection.average_precision import score
from tests.measure.detection.made_up import hard_case, theirs

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
