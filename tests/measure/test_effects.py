"""Effects and verdicts on made-up samples, and tests that are exact for few images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import effects
from stmbench.measure.effects import (
    ALPHA,
    Effect,
    decide_verdict,
    difference_of_intervals,
    difference_of_proportions,
    fisher_p,
    mcnemar,
    minimum_detectable_effect,
    paired_difference,
    sign_flip_p,
)
from stmbench.measure.statistics import Interval, holm
from stmbench.tables.comparison_result import Verdict

MARGIN = math.log(1.03)


@pytest.mark.parametrize(
    ("estimate", "error", "p_corrected", "lower_is_better", "verdict"),
    [
        (0.10, 0.01, 1e-6, True, "worse"),
        (-0.10, 0.01, 1e-6, True, "better"),
        (0.10, 0.01, 1e-6, False, "better"),
        (-0.10, 0.01, 1e-6, False, "worse"),
        (0.10, 0.06, 0.1, True, "inconclusive"),  # large but not sure
        (0.025, 0.001, 1e-9, True, "same"),  # sure but within the margin
        (0.028, 0.003, 1e-9, True, "inconclusive"),  # sure, and perhaps beyond the margin
        (0.0, 0.01, 1.0, True, "same"),
        (0.0, 0.02, 1.0, True, "inconclusive"),
        (0.0, 0.0, 1.0, True, "same"),  # exact
        (math.nan, math.inf, 1.0, True, "inconclusive"),
    ],
)
def test_change_is_claimed_when_significant_and_beyond_the_margin(
    estimate: float, error: float, p_corrected: float, lower_is_better: bool, verdict: Verdict
) -> None:
    effect = Effect(estimate=estimate, error=error, count=100)
    assert decide_verdict(effect, p_corrected, margin=MARGIN, lower_is_better=lower_is_better) == verdict


def test_an_exact_effect_is_certain() -> None:
    assert Effect(estimate=0.1, error=0, count=1).p_value == 0
    assert Effect(estimate=0.0, error=0, count=1).p_value == 1
    assert Effect(estimate=0.1, error=0, count=1).interval == (0.1, 0.1)


def test_the_interval_excludes_no_change_when_p_is_below_one_in_twenty() -> None:
    assert Effect(estimate=1.959964, error=1, count=9).interval == pytest.approx((0, 3.919928), abs=1e-6)
    assert Effect(estimate=1.959964, error=1, count=9).p_value == pytest.approx(0.05, abs=1e-6)
    assert Effect(estimate=0.3, error=0.03, count=9).widened(0.04).error == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm 1979, worked by hand
        ([0.2], [0.2]),
        ([0.9, 0.9], [1.0, 1.0]),
        ([0.001, 0.5], [0.002, 0.5]),
        ([], []),
    ],
)
def test_holm(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_a_paired_effect_is_the_median_log_ratio_and_swaps_its_sign() -> None:
    base = np.linspace(1, 2, 30)
    effect = effects.paired_effect(base, 1.1 * base)
    assert effect.estimate == pytest.approx(math.log(1.1))
    assert effect.error == pytest.approx(0, abs=1e-12)
    assert effect.count == 30
    assert effects.paired_effect(1.1 * base, base).estimate == pytest.approx(-math.log(1.1))


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_rounds_say_nothing(count: int) -> None:
    base = np.ones(count)
    for effect in (effects.paired_effect(base, 2 * base), effects.unpaired_effect(base, 2 * base)):
        assert effect.error == math.inf
        assert effect.p_value == 1 or math.isnan(effect.p_value)
        assert decide_verdict(effect, 1.0, margin=MARGIN) == "inconclusive"


def test_an_unpaired_effect_compares_medians_of_runs_of_different_length() -> None:
    random = np.random.default_rng(0)
    effect = effects.unpaired_effect(random.lognormal(0, 0.05, 400), random.lognormal(0.2, 0.05, 300))
    assert effect.estimate == pytest.approx(0.2, abs=0.015)
    expected = 1.2533 * 0.05 * math.hypot(1 / math.sqrt(400), 1 / math.sqrt(300))  # of a normal sample's median
    assert effect.error == pytest.approx(expected, rel=0.35)


def test_groups_that_differ_make_the_error_larger() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 10)
    groups = np.repeat([0, 1, 2, 3], 10)
    assert effects.between_group_error(values, groups) == pytest.approx(np.std([0, 1, 2, 3], ddof=1) / 2)
    assert effects.between_group_error(values, groups * 0) == 0
    assert effects.between_group_error(values[:20], groups[:20]) == 0  # two groups


def test_the_detectable_effect_is_claimed_four_times_in_five() -> None:
    random = np.random.default_rng(3)
    for error, tests in ((0.01, 1), (0.01, 20), (0.002, 5)):
        true = minimum_detectable_effect(error, margin=MARGIN, tests=tests)
        effects = [Effect(estimate=e, error=error, count=50) for e in random.normal(true, error, 4000)]
        claimed = np.mean([decide_verdict(e, tests * e.p_value, margin=MARGIN) == "worse" for e in effects])
        assert claimed == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("slowdown", "most", "least"), [(0.0, 0.02, 0.0), (0.05, 1.0, 0.8), (0.10, 1.0, 0.95)])
def test_error_rates_on_rounds_with_bursts(slowdown: float, most: float, least: float) -> None:
    random = np.random.default_rng(4)
    claimed = []
    for trial in range(200):
        rounds = 200
        load = 1 + np.repeat(random.random(rounds // 10) < 0.2, 10) * random.random(rounds)  # of both, a fifth of all
        base = load * random.lognormal(0, 0.05, rounds)
        head = (1 + slowdown) * load * random.lognormal(0, 0.05, rounds)
        effect = effects.paired_effect(base, head, draws=200, seed=trial)
        claimed.append(decide_verdict(effect, effect.p_value, margin=MARGIN) in ("worse", "better"))
    assert least <= np.mean(claimed) <= most


def test_holm_keeps_false_alarms_of_a_family_below_alpha() -> None:
    random = np.random.default_rng(5)
    alarms = []
    for _ in range(4000):
        effects = [Effect(estimate=e, error=0.03, count=50) for e in random.normal(0, 0.03, 10)]
        corrected = holm([effect.p_value for effect in effects])
        alarms.append(
            any(decide_verdict(e, p, margin=0) in ("worse", "better") for e, p in zip(effects, corrected, strict=True))
        )
    assert np.mean(alarms) == pytest.approx(ALPHA, abs=0.006)


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


def test_equal_predictions_are_the_same_given_enough_images() -> None:
    for count, verdict in ((200, "inconclusive"), (400, "same")):
        effect = paired_difference(np.ones(count), np.ones(count))
        assert effect.error > 0
        assert decide_verdict(effect, effect.p_value, margin=0.005) == verdict


def test_binary_values_are_treated_as_shares() -> None:
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
def test_sign_flip_p_value_by_hand(differences: list[float], p: float) -> None:
    assert sign_flip_p(differences) == pytest.approx(p)


def test_sign_flips_keep_their_error_rate() -> None:
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


def test_many_discordant_images_use_the_corrected_chi_square(monkeypatch: pytest.MonkeyPatch) -> None:
    test = mcnemar(*_hits(121, 99))
    monkeypatch.setattr(effects, "EXACT_PAIRS", 25)
    approximate = mcnemar(*_hits(121, 99))
    statistic = (abs(121 - 99) - 1) ** 2 / 220
    assert not approximate.exact
    assert approximate.p == pytest.approx(math.erfc(math.sqrt(statistic / 2)))
    assert approximate.p == pytest.approx(test.p, rel=0.01)
    monkeypatch.undo()
    assert mcnemar(*_hits(600, 600)).p == 1.0
    assert not mcnemar(*_hits(600, 600)).exact


def test_mcnemar_keeps_its_error_rate() -> None:
    rng = np.random.default_rng(0)
    rejected = [mcnemar(rng.random(80) < 0.5, rng.random(80) < 0.5).p < 0.05 for _ in range(2000)]
    assert 0.01 < np.mean(rejected) <= 0.05


def test_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar([True], [True, False])
