"""Detections in COCO's format: from a detector's output, through a file, and compared across scales."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask

from stmbench.errors import InputError, OutputError
from stmbench.measure.detection.average_precision import score
from stmbench.measure.detection.results import consistency, detections_of, read_detections, write_detections
from tests.measure.detection.made_up import annotation, hard_case, result, truth_of


def output(masks: bool = False) -> dict[str, torch.Tensor]:
    found = {
        "boxes": torch.tensor([[1.0, 2.0, 11.5, 22.0], [0.1, 0.2, 0.7, 0.9], [float("nan"), 0, 1, 1]]),
        "scores": torch.tensor([0.3, 0.1, 0.9]),
        "labels": torch.tensor([2, 1, 1]),
    }
    if masks:
        found["masks"] = torch.zeros(3, 1, 4, 6)
        found["masks"][0, 0, 1:3, 2:5] = 0.6
        found["masks"][1, 0] = 0.5  # not above one half
    return found


def test_an_output_becomes_results_with_the_data_set_s_ids() -> None:
    first, second = detections_of(7, output(), category_ids=(3, 18))
    assert first == {"image_id": 7, "category_id": 18, "bbox": [1.0, 2.0, 10.5, 20.0], "score": float(np.float32(0.3))}
    assert second["category_id"] == 3
    assert second["bbox"] == pytest.approx([0.1, 0.2, 0.6, 0.7])


def test_masks_become_run_lengths() -> None:
    first, second = detections_of(7, output(masks=True), category_ids=(3, 18))
    pixels = mask.decode(first["segmentation"])
    assert first["segmentation"]["size"] == [4, 6]
    assert np.argwhere(pixels).tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]
    assert mask.area(second["segmentation"]) == 0


def test_an_output_without_detections() -> None:
    empty = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.long)}
    assert detections_of(1, {**empty, "masks": torch.zeros(0, 1, 4, 4)}, (1,)) == []


@pytest.mark.parametrize("label", [0, 3])
def test_a_label_without_a_category_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match="expected labels from 1 to 2"):
        detections_of(7, {**output(), "labels": torch.tensor([2, label, 1])}, (3, 18))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    found = detections_of(7, output(masks=True), category_ids=(3, 18))
    tied = torch.tensor([0.1, 0.1, np.nextafter(np.float32(0.1), np.float32(1))])
    found += detections_of(8, {**output(), "boxes": torch.rand(3, 4).cumsum(1), "scores": tied}, (3, 18))
    write_detections(tmp_path / "a" / "found.json", found)
    assert read_detections(tmp_path / "a" / "found.json") == found
    assert len((tmp_path / "a" / "found.json").read_text().splitlines()) == len(found)
    write_detections(tmp_path / "none.json", [])
    assert read_detections(tmp_path / "none.json") == []


def test_a_file_scores_like_the_detections_themselves(tmp_path: Path) -> None:
    truth, found = hard_case(1, masks=True)
    write_detections(tmp_path / "found.json", found)
    for kind in ("bbox", "segm"):
        again = score(truth, read_detections(tmp_path / "found.json"), kind=kind)
        assert again.metrics == pytest.approx(score(truth, found, kind=kind).metrics, abs=0, nan_ok=True)


RIGHT = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "expected JSON in"),
        ({"annotations": []}, "expected a list of detections"),
        ([RIGHT, 5], "expected a detection, got 5; in entry 2 of found.json"),
        ([{**RIGHT, "image_id": "1"}], "expected a whole number as image_id, got '1'"),
        ([{**RIGHT, "category_id": True}], "expected a whole number as category_id, got True"),
        ([{**RIGHT, "score": float("nan")}], "expected a finite score, got nan"),
        ([{**RIGHT, "score": None}], "expected a finite score, got None"),
        ([{**RIGHT, "bbox": [0, 0, 1]}], "expected a bbox of four finite numbers"),
        ([{**RIGHT, "bbox": [0, 0, -1, 1]}], "expected a bbox whose width and height are not negative"),
        ([{**RIGHT, "bbox": None}], "expected a bbox or a segmentation, got neither"),
        ([{**RIGHT, "segmentation": [[0, 0, 1, 1]]}], "expected a segmentation of run lengths"),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "found.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_detections(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file of detections"):
        read_detections(tmp_path / "missing.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_detections(tmp_path / "file" / "found.json", [])


def test_the_same_boxes_are_consistent() -> None:
    _, found = hard_case(0)
    images = sorted({item["image_id"] for item in found})
    certain = {(item["image_id"], item["category_id"], *item["bbox"]): item for item in found if item["score"] >= 0.5}
    reference = [*certain.values(), result(images[0], 7, [0, 0, 200, 200], 0.2)]
    same = consistency(reference, reference, images, 0.5)
    assert (same.value, same.boxes) == (pytest.approx(1.0, abs=1e-12), len(certain))


def test_consistency_is_the_average_precision_against_the_certain_boxes() -> None:
    reference = [result(1, 4, [0, 0, 50, 50], 0.5), result(2, 4, [0, 0, 50, 50], 0.49), result(2, 6, [9, 9, 30, 30], 1)]
    other = [result(1, 4, [0, 1, 50, 50], 0.3), result(2, 4, [0, 0, 50, 50], 0.9), result(2, 6, [9, 12, 30, 30], 0.1)]
    found = consistency(reference, other, [1, 2, 3], 0.5)
    truth = truth_of(
        [annotation(1, 1, 4, [0, 0, 50, 50]), annotation(2, 2, 6, [9, 9, 30, 30])], images=(1, 2), categories=(4, 6)
    )
    assert found.boxes == 2
    assert found.value == score(truth, other, kind="bbox").metrics["box_ap"]
    assert found.scores.by_class == pytest.approx({"4": 0.5, "6": 7 / 10})  # overlaps of 49/51 and 27/33
    assert np.isnan(consistency(reference, other, [1, 2, 3], 1.1).value)
