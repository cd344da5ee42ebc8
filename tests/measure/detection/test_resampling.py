"""The bootstrap of average precision: weights for images drawn several times, intervals, differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from stmbench.measure.bootstrap import image_multiplicities
from stmbench.measure.detection.average_precision import (
    ApScores,
    difference,
    intervals,
    resampled,
    score,
    weighted,
)
from tests.measure.detection.made_up import Results, Truth, annotation, hard_case, result, truth_of


@pytest.mark.parametrize("seed", range(4))
def test_unit_weights_give_the_plain_scores(seed: int) -> None:
    found = score(*hard_case(seed), kind="bbox")
    each = weighted(found.matches, np.ones((len(found.matches.image_ids), 3)))
    assert each.shape == (10, 3)
    assert each.mean(axis=0) == pytest.approx([found.metrics["box_ap"]] * 3, abs=1e-12)
    assert each[0] == pytest.approx([found.metrics["box_ap50"]] * 3, abs=1e-12)
    assert each[5] == pytest.approx([found.metrics["box_ap75"]] * 3, abs=1e-12)


def repeated(truth: Truth, detections: Results, times: np.ndarray) -> tuple[Truth, Results]:
    """The data set in which each image, in the order of ids, appears as often as `times` says."""
    images = sorted(image["id"] for image in truth["images"])
    everything: Truth = {"images": [], "annotations": [], "categories": truth["categories"]}
    found: Results = []
    for image, count in zip(images, times.astype(int), strict=True):
        for _ in range(count):
            new = len(everything["images"]) + 1
            everything["images"].append({"id": new, "height": 300, "width": 400})
            for item in copy.deepcopy([item for item in truth["annotations"] if item["image_id"] == image]):
                everything["annotations"].append({**item, "image_id": new, "id": len(everything["annotations"]) + 1})
            found += [{**item, "image_id": new} for item in detections if item["image_id"] == image]
    return everything, found


@pytest.mark.parametrize("seed", range(3))
def test_a_resample_scores_like_a_data_set_with_its_images_repeated(seed: int) -> None:
    truth, detections = hard_case(seed, images=9)
    place: dict[int, int] = {}
    for item in detections:  # ties between images remain, those within an image do not
        item["score"] -= 1e-3 * place.setdefault(item["image_id"], 0)
        place[item["image_id"]] += 1
    assert len({item["score"] for item in detections}) < 0.9 * len(detections)
    found = score(truth, detections, kind="bbox")
    (times,) = image_multiplicities(9, draws=8, step=8, seed=seed)
    drawn = weighted(found.matches, times.T)
    for column, counts in enumerate(times):
        again = score(*repeated(truth, detections, counts), kind="bbox").metrics
        assert drawn[:, column].mean() == pytest.approx(again["box_ap"], abs=1e-12, nan_ok=True)
        assert drawn[5, column] == pytest.approx(again["box_ap75"], abs=1e-12, nan_ok=True)
    assert np.ptp(drawn[0]) > 0


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = score(*hard_case(3), kind="bbox")
    whole = resampled(found.matches, draws=50, seed=4)
    monkeypatch.setattr("stmbench.measure.detection.average_precision.VALUES_PER_STEP", 100)
    assert np.array_equal(resampled(found.matches, draws=50, seed=4), whole)


def easy(count: int, quality: float, seed: int) -> ApScores:
    """`count` images with three objects each, of which `quality` are found; each has a miss, too."""
    rng, objects, found = np.random.default_rng(seed), [], []
    for image in range(count):
        for place in range(3):
            box = [100 * place, 20, 50, 50]
            objects.append(annotation(len(objects) + 1, image, 1, box))
            if rng.random() < quality:
                found.append(result(image, 1, box, rng.uniform(0.3, 1)))
        found.append(result(image, 1, [10, 200, 50, 50], rng.uniform(0, 0.6)))
    return score(truth_of(objects, images=range(count)), found, kind="bbox")


def test_intervals_hold_the_estimate_and_shrink_with_more_images() -> None:
    few, many = (intervals(easy(count, 0.7, 0), draws=200) for count in (20, 320))
    assert list(few) == ["box_ap", "box_ap50", "box_ap75"]
    for name in few:
        assert few[name].low < few[name].estimate < few[name].high
        assert (few[name].count, many[name].count) == (20, 320)
        assert 2 < (few[name].high - few[name].low) / (many[name].high - many[name].low) < 8  # about 4


def test_interval_has_its_nominal_coverage() -> None:
    truth = easy(1500, 0.7, 99).metrics["box_ap"]
    found = [intervals(easy(40, 0.7, seed), draws=100)["box_ap"] for seed in range(60)]
    assert 50 <= sum(item.low <= truth <= item.high for item in found) <= 60


def test_one_image_has_no_interval() -> None:
    found = intervals(easy(1, 1.0, 0))["box_ap"]
    assert np.isnan([found.low, found.high]).all()
    assert np.isinf(difference(easy(1, 1.0, 0), easy(1, 1.0, 1))["box_ap"].error)


def test_a_detector_does_not_differ_from_itself() -> None:
    effect = difference(easy(30, 0.7, 0), easy(30, 0.7, 0), draws=50)["box_ap"]
    assert (effect.estimate, effect.interval, effect.p_value) == (0, (0, 0), 1)


def test_pairing_resolves_a_difference_that_separate_intervals_do_not() -> None:
    truth, _ = hard_case(5, images=60)
    things = [item for item in truth["annotations"] if not item["iscrowd"]]
    found = [result(item["image_id"], item["category_id"], item["bbox"], 0.5) for item in things]
    head_finds = [item for number, item in enumerate(found) if number % 2]
    base_finds = [item for number, item in enumerate(found) if number % 2 and number % 24 != 1]
    base, head = (score(truth, part, kind="bbox") for part in (base_finds, head_finds))
    effect = difference(base, head, draws=300)["box_ap"]
    apart = intervals(base, draws=300)["box_ap"], intervals(head, draws=300)["box_ap"]
    assert effect.estimate == head.metrics["box_ap"] - base.metrics["box_ap"] > 0
    assert apart[1].low < apart[0].high
    assert 0 < effect.interval[0] < effect.estimate < effect.interval[1]
    assert effect.p_value < 0.01
    swapped = difference(head, base, draws=300)["box_ap"]
    assert swapped.interval == pytest.approx((-effect.interval[1], -effect.interval[0]))
    assert swapped.p_value == pytest.approx(effect.p_value)


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="on the same images"):
        difference(easy(3, 0.7, 0), easy(4, 0.7, 0))
