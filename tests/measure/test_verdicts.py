"""Verdicts on made-up samples: exact cases, and error rates under fixed seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import verdicts
from stmbench.measure.statistics import holm
from stmbench.measure.verdicts import ALPHA, Effect, decide_verdict, minimum_detectable_effect
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
def test_a_change_is_claimed_when_it_is_sure_and_beyond_the_margin(
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
    effect = verdicts.paired_effect(base, 1.1 * base)
    assert effect.estimate == pytest.approx(math.log(1.1))
    assert effect.error == pytest.approx(0, abs=1e-12)
    assert effect.count == 30
    assert verdicts.paired_effect(1.1 * base, base).estimate == pytest.approx(-math.log(1.1))


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_rounds_say_nothing(count: int) -> None:
    base = np.ones(count)
    for effect in (verdicts.paired_effect(base, 2 * base), verdicts.unpaired_effect(base, 2 * base)):
        assert effect.error == math.inf
        assert effect.p_value == 1 or math.isnan(effect.p_value)
        assert decide_verdict(effect, 1.0, margin=MARGIN) == "inconclusive"


def test_an_unpaired_effect_compares_medians_of_runs_of_different_length() -> None:
    random = np.random.default_rng(0)
    effect = verdicts.unpaired_effect(random.lognormal(0, 0.05, 400), random.lognormal(0.2, 0.05, 300))
    assert effect.estimate == pytest.approx(0.2, abs=0.015)
    expected = 1.2533 * 0.05 * math.hypot(1 / math.sqrt(400), 1 / math.sqrt(300))  # of a normal sample's median
    assert effect.error == pytest.approx(expected, rel=0.35)


def test_groups_that_differ_make_the_error_larger() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 10)
    groups = np.repeat([0, 1, 2, 3], 10)
    assert verdicts.between_group_error(values, groups) == pytest.approx(np.std([0, 1, 2, 3], ddof=1) / 2)
    assert verdicts.between_group_error(values, groups * 0) == 0
    assert verdicts.between_group_error(values[:20], groups[:20]) == 0  # two groups


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
        effect = verdicts.paired_effect(base, head, draws=200, seed=trial)
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
