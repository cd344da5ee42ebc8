"""Differences of answers: against published values, and where a bootstrap is sure of what it cannot know."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import differences
from stmbench.measure.differences import (
    difference_of_intervals,
    difference_of_proportions,
    fisher_p,
    mcnemar,
    paired_difference,
    sign_flip_p,
)
from stmbench.measure.statistics import Interval
from stmbench.measure.verdicts import decide_verdict


@pytest.mark.parametrize(
    ("base", "head", "p", "interval"),
    [
        ([1] * 10, [0] * 4 + [1] * 6, 0.125, (-0.646, -0.021)),  # four flips, all one way
        ([1] * 5, [1] * 5, 1.0, (-0.28, 0.28)),  # five of five at both
        ([1] * 10, [0] * 9 + [1], 2 / 2**9, (-1.0, -0.456)),  # never beyond -1
        ([0.0] * 360 + [0.0] * 40, [0.0] * 360 + [1.0] * 40, 2 / 2**40, (0.07, 0.13)),
    ],
)
def test_shares_have_mcnemars_p_and_agresti_and_mins_interval(
    base: list[float], head: list[float], p: float, interval: tuple[float, float]
) -> None:
    effect = paired_difference(base, head)
    assert effect.p_value == pytest.approx(p)
    assert effect.interval == pytest.approx(interval, abs=0.005)
    verdict = "inconclusive" if p > 0.01 else "better" if effect.estimate > 0 else "worse"
    assert decide_verdict(effect, effect.p_value, margin=0.005, lower_is_better=False) == verdict


def test_equal_answers_are_the_same_once_there_are_enough() -> None:
    for count, verdict in ((200, "inconclusive"), (400, "same")):
        effect = paired_difference(np.ones(count), np.ones(count))
        assert effect.error > 0
        assert decide_verdict(effect, effect.p_value, margin=0.005) == verdict


def test_values_of_two_kinds_get_what_shares_get() -> None:
    base, head = np.repeat([1.0, 0.0], [60, 40]), np.repeat([1.0, 0.0, 1.0], [50, 45, 5])
    shares = paired_difference(base, head)
    means = paired_difference(base / 2, head / 2, reach=0.5)
    assert means.interval == pytest.approx([end / 2 for end in shares.interval])
    assert means.p_value == pytest.approx(shares.p_value, rel=1e-9)


def test_values_without_a_largest_difference_keep_a_width() -> None:
    same = np.full(50, 0.5)
    effect = paired_difference(same, same)
    assert effect.p_value == 1
    assert effect.interval == pytest.approx((-0.5 * 1.96 / 52, 0.5 * 1.96 / 52), rel=1e-3)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([1.0], 1.0),
        ([1, 1, 1, 1, 0], 0.125),
        ([1, 2, 3, 4], 0.125),
        ([1, 2, 3, -4], 14 / 16),
        ([0.3] * 16, 2 / 2**16),
        ([1.0] * 20 + [-1.0] * 5, math.erfc(14 / 5 / math.sqrt(2))),  # exact: 0.0041
    ],
)
def test_signs_are_flipped(differences: list[float], p: float) -> None:
    assert sign_flip_p(differences) == pytest.approx(p)


def test_flipped_signs_of_no_difference_are_rejected_no_more_often_than_promised() -> None:
    random = np.random.default_rng(0)
    for count in (8, 30):
        rejected = np.mean([sign_flip_p(random.standard_t(3, count)) < 0.05 for _ in range(1000)])
        assert rejected <= 0.065


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        ((8, 10), (1, 10), 0.005477493093794),  # scipy.stats.fisher_exact
        ((5, 5), (5, 5), 1.0),
        ((3, 4), (1, 4), 34 / 70),  # Fisher's tea
        ((0, 0), (0, 3), 1.0),
        ((480, 50_000), (520, 50_000), 0.21514),
    ],
)
def test_fishers_exact_test(first: tuple[int, int], second: tuple[int, int], p: float) -> None:
    assert fisher_p(first, second) == pytest.approx(p, rel=1e-3)
    assert fisher_p(second, first) == pytest.approx(fisher_p(first, second))


def test_unpaired_shares_have_newcombes_interval() -> None:
    effect = difference_of_proportions((48, 80), (56, 70))  # Newcombe 1998, table II, (a), method 10
    assert effect.estimate == pytest.approx(0.2)
    assert effect.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert difference_of_proportions((5, 5), (5, 5)).interval == pytest.approx((-0.4345, 0.4345), abs=5e-4)


def test_unpaired_means_have_a_normal_p() -> None:
    base, head = (Interval(estimate=value, low=value - 0.1, high=value + 0.1, count=9) for value in (0.5, 0.7))
    effect = difference_of_intervals(base, head)
    assert effect.interval == pytest.approx((0.2 - 0.02**0.5, 0.2 + 0.02**0.5))
    assert effect.p_value == pytest.approx(math.erfc(1.959964 * 0.2 / 0.02**0.5 / 2**0.5))


def _hits(only_first: int, only_second: int, both: int = 3, neither: int = 2) -> tuple[list[bool], list[bool]]:
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (6, 6, 1.0),
        (9, 1, 22 / 1024),
        (470, 530, 0.06202319509836343),  # scipy.stats.binomtest(470, 1000)
    ],
)
def test_few_discordant_images_are_counted_exactly(only_first: int, only_second: int, p: float) -> None:
    test = mcnemar(*_hits(only_first, only_second))
    assert test.exact
    assert test.p == pytest.approx(p, rel=1e-12)
    assert (test.only_first, test.only_second, test.discordant) == (only_first, only_second, only_first + only_second)
    assert mcnemar(*reversed(_hits(only_first, only_second))).p == test.p


def test_many_take_the_corrected_chi_square(monkeypatch: pytest.MonkeyPatch) -> None:
    test = mcnemar(*_hits(121, 99))
    monkeypatch.setattr(differences, "EXACT_PAIRS", 25)
    approximate = mcnemar(*_hits(121, 99))
    statistic = (abs(121 - 99) - 1) ** 2 / 220
    assert not approximate.exact
    assert approximate.p == pytest.approx(math.erfc(math.sqrt(statistic / 2)))
    assert approximate.p == pytest.approx(test.p, rel=0.01)
    monkeypatch.undo()
    assert mcnemar(*_hits(600, 600)).p == 1.0
    assert not mcnemar(*_hits(600, 600)).exact


def test_fair_coins_are_rejected_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(0)
    rejected = [mcnemar(rng.random(80) < 0.5, rng.random(80) < 0.5).p < 0.05 for _ in range(2000)]
    assert 0.01 < np.mean(rejected) <= 0.05


def test_other_images_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar([True], [True, False])
