"""Answers that two stores kept are paired by image, and only where they are those behind the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.comparison.stored import StoredConfig, compare_stores
from tests.comparison import stores
from tests.comparison.stores import compared, only

HITS = [1, 0] * 200  # no fewer than 390 images that all agree lie within half a point


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("flips", "paired", "unpaired"), [(0, "same", "inconclusive"), (18, "worse", "inconclusive")])
def test_answers_that_were_kept_are_paired_by_image(
    tmp_path: Path, keep: bool, flips: int, paired: str, unpaired: str
) -> None:
    lost = [0 if number < 2 * flips else hit for number, hit in enumerate(HITS)]
    base, head = (
        stores.evaluation(tmp_path / name, hits, keep=keep, key=name) for name, hits in (("base", HITS), ("head", lost))
    )
    finding = only(compared(tmp_path, base, head), "accuracy")
    assert finding.effect == pytest.approx(-flips / 400)
    assert finding.verdict == (paired if keep else unpaired)
    assert ("paired by image" in finding.conditions) == keep


@pytest.mark.parametrize("keep", [True, False])
def test_probes_are_compared_and_paired_by_query(tmp_path: Path, keep: bool) -> None:
    lost = [0 if number < 36 else hit for number, hit in enumerate(HITS)]
    rows = [
        stores.probed(tmp_path / name, hits, keep=keep, key=name) for name, hits in (("base", HITS), ("head", lost))
    ]
    comparison = compared(tmp_path, *rows)
    for metric in ("knn accuracy", "linear accuracy"):
        finding = only(comparison, metric)
        assert finding.effect == pytest.approx(-18 / 400)
        assert finding.verdict == ("worse" if keep else "inconclusive")
        assert ("paired by image" in finding.conditions) == keep


def test_curves_of_consistency_are_paired_by_image(tmp_path: Path) -> None:
    lost = [0 if number < 36 else hit for number, hit in enumerate(HITS)]
    rows = [stores.invariance(tmp_path / name, hits, key=name) for name, hits in (("base", HITS), ("head", lost))]
    comparison = compared(tmp_path, *rows)
    assert {item.metric for item in comparison.findings} == {"consistency auc"}  # no test for each level
    finding = only(comparison, "consistency auc")
    assert finding.verdict == "worse"
    assert finding.effect == pytest.approx(-9 / 400)
    assert finding.conditions.endswith("paired by image")


@pytest.mark.parametrize(("after", "verdict"), [(0.4, "worse"), (0.495, "inconclusive")])
def test_curves_of_box_consistency_are_compared_by_the_area_alone(tmp_path: Path, after: float, verdict: str) -> None:
    known = {"analysis": "box_consistency_scale", "definition": "box_consistency.scale.v1", "dataset": "shapes:ab"}
    known |= {"split": "test", "num_images": 60, "num_samples": 60, "unit": "1", "condition": "threshold=0.1"}
    base, head = (
        [
            stores.row(metric=metric, value=area, ci_low=area - 0.02, ci_high=area + 0.02, level=2.0, **known)
            for metric in ("box_consistency", "box_consistency_auc", "box_ap")
        ]
        for area in (0.5, after)
    )
    (finding,) = compared(tmp_path, base, head).findings  # none for a level
    assert (finding.metric, finding.verdict) == ("box consistency auc", verdict)
    assert finding.effect == pytest.approx(after - 0.5)


@pytest.mark.parametrize("own_labels", [False, True])
def test_what_an_attack_left_is_paired_by_image(tmp_path: Path, own_labels: bool) -> None:
    lost = [0 if number < 36 else hit for number, hit in enumerate(HITS)]
    base, head = (
        stores.attacked(tmp_path / name, hits, own_labels=own_labels, key=name)
        for name, hits in (("base", HITS), ("head", lost))
    )
    findings = compared(tmp_path, base, head).findings
    # that a model agrees with itself on clean images is no finding
    assert [item.verdict for item in findings] == (["worse"] if own_labels else ["worse", "same"])
    assert findings[0].effect == pytest.approx(-18 / 400)
    assert findings[0].conditions.endswith("paired by image")
    (tmp_path / "head" / "parts" / "head.predictions.npz").unlink()
    alone = compare_stores(tmp_path / "base", tmp_path / "head", StoredConfig()).findings
    assert not any("paired" in item.conditions for item in alone)
    assert {item.verdict for item in alone} == {"inconclusive"}


def test_four_flips_of_ten_are_no_regression(tmp_path: Path) -> None:
    base, head = (
        stores.evaluation(tmp_path / name, hits, key=name)
        for name, hits in (("base", [1] * 10), ("head", [0] * 4 + [1] * 6))
    )
    finding = only(compared(tmp_path, base, head), "accuracy")
    assert (finding.verdict, finding.p_value, finding.reason) == ("inconclusive", 0.125, "the change may be chance")
    assert finding.low == pytest.approx(-0.646, abs=5e-4)
    assert finding.high == pytest.approx(-0.021, abs=5e-4)


@pytest.mark.parametrize("keep", [True, False])
def test_five_right_of_five_twice_is_neither_exact_nor_the_same(tmp_path: Path, keep: bool) -> None:
    base, head = (stores.evaluation(tmp_path / name, [1] * 5, keep=keep, key=name) for name in ("base", "head"))
    finding = only(compared(tmp_path, base, head), "accuracy")
    assert (finding.verdict, finding.effect) == ("inconclusive", 0)
    assert finding.low is not None
    assert finding.low < -0.25
    assert finding.reason == "the interval exceeds the margin"


def test_a_difference_of_shares_stays_between_minus_one_and_one(tmp_path: Path) -> None:
    base = stores.evaluation(tmp_path / "base", [1] * 10, keep=False)
    head = stores.evaluation(tmp_path / "head", [0] * 9 + [1], keep=False)
    finding = only(compared(tmp_path, base, head), "accuracy")
    assert finding.low is not None
    assert finding.high is not None
    assert -1 < finding.low < -0.9 < finding.high < 0


def test_answers_that_do_not_add_up_to_the_row_are_not_used(tmp_path: Path) -> None:
    base = stores.evaluation(tmp_path / "base", HITS)
    head = stores.evaluation(tmp_path / "head", [1, *HITS[1:-1], 1])
    stores.evaluation(tmp_path / "head", HITS)  # its predictions take the place of the others
    assert "paired" not in only(compared(tmp_path, base, head), "accuracy").conditions


def test_predictions_of_other_images_are_not_paired(tmp_path: Path) -> None:
    base = stores.evaluation(tmp_path / "base", HITS)
    head = stores.evaluation(tmp_path / "head", HITS)
    (tmp_path / "head" / "parts" / "eval.predictions.parquet").unlink()
    finding = only(compared(tmp_path, base, head), "accuracy")
    assert "paired" not in finding.conditions
    assert finding.verdict == "inconclusive"
