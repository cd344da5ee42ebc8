"""Corruption errors against numbers worked out by hand, and their intervals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from stmbench.analyses.corruption.options import (
    CORRUPTIONS,
    FAMILIES,
    chosen_corruptions,
    means_over,
    overall,
)
from stmbench.analyses.corruption.scores import Answers, Errors, corruption_errors
from stmbench.errors import UnknownNameError

FOG, SNOW = "fog", "snow"


def errors(clean: list[float], **corrupted: list[float]) -> Errors:
    return Errors(
        indices=np.arange(len(clean)),
        clean=np.array(clean, dtype=float),
        corrupted={name: np.array(values, dtype=float) for name, values in corrupted.items()},
    )


def test_four_images_by_hand() -> None:
    model = errors([0, 0, 0, 1], fog=[0.2, 0.4, 0.6, 0.8], snow=[0, 0, 1, 1])  # 1/4; 1/2, 1/2
    baseline = errors([0, 0, 0, 0], fog=[1, 1, 1, 1], snow=[0.8, 0.8, 0.8, 0.8])  # 0; 1, 4/5
    found = corruption_errors(model, baseline, seed=0)
    values = {name: ratio.interval.estimate for name, ratio in found.each.items() if ratio.interval}
    assert values == {FOG: pytest.approx(0.5), SNOW: pytest.approx(0.625)}
    relative = {name: ratio.interval.estimate for name, ratio in found.each_relative.items() if ratio.interval}
    assert relative == {FOG: pytest.approx(0.25), SNOW: pytest.approx(0.25 / 0.8)}
    assert found.mean.interval is not None
    assert found.mean.interval.estimate == pytest.approx((0.5 + 0.625) / 2)
    assert found.mean_relative.interval is not None
    assert found.mean_relative.interval.estimate == pytest.approx((0.25 + 0.3125) / 2)
    assert found.mean.interval.low < found.mean.interval.estimate < found.mean.interval.high
    assert found.mean.interval.count == 4


def test_a_ratio_of_a_model_to_itself_is_one_without_a_width_as_images_are_paired() -> None:
    random = np.random.default_rng(0)
    model = errors(list(random.random(50) < 0.2), fog=list(random.random(50)))
    found = corruption_errors(model, model, seed=0)
    for ratio in (found.mean, found.each[FOG], found.mean_relative):
        assert ratio.interval is not None
        assert (ratio.interval.estimate, ratio.interval.low, ratio.interval.high) == pytest.approx((1, 1, 1))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random, held = np.random.default_rng(0), 0
    for trial in range(60):
        hard = random.random(100)  # an image is hard for both: the pairs are alike
        ours, theirs = (random.random(100) < 0.3 + 0.4 * hard for _ in range(2))
        model, baseline = errors([0] * 100, fog=list(ours)), errors([0] * 100, fog=list(theirs))
        interval = corruption_errors(model, baseline, seed=trial).each[FOG].interval
        assert interval is not None
        held += interval.low <= 1 <= interval.high
    assert held >= 53  # of 60; at 95 % fewer happen in 1 of 100 cases


def test_only_common_images_and_corruptions_count() -> None:
    model = Errors(indices=np.array([1, 4, 5]), clean=np.zeros(3), corrupted={FOG: np.array([1.0, 0, 0.5])})
    baseline = Errors(
        indices=np.array([4, 5, 9]), clean=np.zeros(3), corrupted={FOG: np.array([0.5, 0.5, 0]), SNOW: np.ones(3)}
    )
    found = corruption_errors(model, baseline, seed=0)
    assert list(found.each) == [FOG]
    assert found.each[FOG].interval is not None
    assert found.each[FOG].interval.estimate == pytest.approx(0.25 / 0.5)
    assert found.each[FOG].interval.count == 2


def test_a_baseline_that_makes_no_error_has_no_ratio() -> None:
    model, baseline = errors([0, 0], fog=[1, 1], snow=[1, 0]), errors([0, 0], fog=[0, 0], snow=[1, 1])
    found = corruption_errors(model, baseline, seed=0)
    assert found.each[FOG].interval is None
    assert found.each[FOG].reason == "the baseline makes no error under fog"
    assert found.each[SNOW].interval is not None
    assert found.mean.interval is None


def test_a_baseline_that_makes_few_errors_has_a_ratio_without_an_interval() -> None:
    found = corruption_errors(errors([0] * 4, fog=[1] * 4), errors([0] * 4, fog=[1, 0, 0, 0]), seed=0)
    ratio = found.each[FOG]
    assert ratio.interval is not None
    assert ratio.interval.estimate == 4
    assert math.isnan(ratio.interval.low)
    assert ratio.reason == "the baseline makes no error under fog in some resamples"


def test_a_baseline_that_does_better_on_corrupted_images_has_no_relative_error() -> None:
    found = corruption_errors(errors([0, 0], fog=[1, 1]), errors([1, 1], fog=[0.5, 0.5]), seed=0)
    assert found.each[FOG].interval is not None
    assert found.each_relative[FOG].interval is None
    assert found.each_relative[FOG].reason == "the baseline loses no accuracy under fog"


def test_answers_come_back_and_are_put_in_order(tmp_path: Path) -> None:
    clean = Answers(indices=np.array([5, 2]), labels=np.array([1, 0]), predicted=np.array([[1, 1]]))
    fog = Answers(indices=np.array([2, 5, 7]), labels=np.array([0, 1, 2]), predicted=np.array([[0, 1, 2], [0, 0, 0]]))
    fog.write(tmp_path / "a.npz")
    found = Errors.of({"clean": clean, FOG: Answers.read(tmp_path / "a.npz")})
    assert found.indices.tolist() == [2, 5]
    assert found.clean.tolist() == [1, 0]
    assert found.corrupted[FOG].tolist() == [0, 0.5]
    assert found.mean_accuracy((FOG,)).estimate == pytest.approx(0.75)


def test_names_and_families() -> None:
    assert len(CORRUPTIONS) == 15
    assert chosen_corruptions(()) == CORRUPTIONS
    assert chosen_corruptions(("fog", "noise")) == (*FAMILIES["noise"], "fog")
    assert chosen_corruptions(tuple(FAMILIES)) == CORRUPTIONS
    with pytest.raises(UnknownNameError, match="gaussian_nois"):
        chosen_corruptions(("gaussian_nois",))


def test_the_mean_of_a_selection_is_not_called_the_published_one() -> None:
    assert overall(CORRUPTIONS) is None
    assert overall(FAMILIES["blur"]) == "blur"
    assert overall(("fog", "contrast")) == "fog+contrast"
    assert means_over(CORRUPTIONS)[None] == CORRUPTIONS
    assert means_over(("fog",)) == {"fog": ("fog",)}
    some = chosen_corruptions(("noise", "fog"))
    assert list(means_over(some)) == [*some, "noise", "+".join(some)]
