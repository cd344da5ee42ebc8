from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import statistics
from stmbench.measure.statistics import Interval


def test_a_constant_ratio_is_known_exactly() -> None:
    base = np.array([1.0, 5.0, 2.0, 9.0, 4.0])
    ratio = statistics.paired_ratio(3 * base, base)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((3.0, 3.0, 3.0))
    assert ratio.count == 5
    assert ratio.relative_width == pytest.approx(0.0, abs=1e-12)


def test_pairing_removes_what_rounds_share() -> None:
    rng = np.random.default_rng(0)
    burst = rng.lognormal(0, 0.5, 40)  # the machine's speed, round by round
    a, b = 2.0 * burst * rng.lognormal(0, 0.01, 40), burst * rng.lognormal(0, 0.01, 40)
    assert statistics.paired_ratio(a, b).relative_width < 0.02
    assert statistics.median_interval(a).relative_width > 0.2


def test_swapping_the_two_inverts_the_ratio() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(0, 0.1, 15), rng.lognormal(0.3, 0.1, 15)
    one, other = statistics.paired_ratio(a, b), statistics.paired_ratio(b, a)
    assert one.estimate * other.estimate == pytest.approx(1.0)
    assert one.low * other.high == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("rounds", [10, 20, 40])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(rounds: int) -> None:
    rng = np.random.default_rng(2)
    covered, trials = 0, 300
    for _ in range(trials):
        a, b = 1.7 * rng.lognormal(0, 0.1, rounds), rng.lognormal(0, 0.1, rounds)
        found = statistics.paired_ratio(a, b, draws=500)
        covered += found.low <= 1.7 <= found.high
    assert 0.90 <= covered / trials <= 0.99


def test_the_same_samples_give_the_same_interval() -> None:
    values = np.random.default_rng(3).normal(10, 1, 30)
    assert statistics.median_interval(values, seed=5) == statistics.median_interval(values, seed=5)
    assert statistics.median_interval(values, seed=5) != statistics.median_interval(values, seed=6)


def test_quantiles_of_known_samples() -> None:
    values = np.arange(100.0).reshape(25, 4)
    found = statistics.quantile_interval(values, 0.9)
    assert found.estimate == pytest.approx(np.quantile(np.arange(100.0), 0.9))
    assert found.low < found.estimate < found.high <= 99
    assert found.count == 25


def test_rounds_are_resampled_whole() -> None:
    # two kinds of rounds, alike inside: with runs resampled one by one the interval would be four times as narrow
    random = np.random.default_rng(4)
    rounds = np.repeat(random.normal(0, 1, 30)[:, None], 16, axis=1)
    whole = statistics.median_interval(rounds)
    single = statistics.median_interval(random.permutation(rounds.reshape(-1)))
    assert whole.high - whole.low > 2 * (single.high - single.low)


@pytest.mark.parametrize(
    ("values", "estimate", "width"), [([], math.nan, math.inf), ([2.0], 2.0, math.inf), ([0.0, 0.0], 0.0, math.inf)]
)
def test_too_little_is_known_to_be_too_little(values: list[float], estimate: float, width: float) -> None:
    found = statistics.median_interval(values)
    assert found.estimate == pytest.approx(estimate, nan_ok=True)
    assert found.relative_width == width


def test_ranks_of_what_never_overlaps_are_certain() -> None:
    noise = np.random.default_rng(5).normal(0, 0.01, (3, 20))
    found = statistics.rank_probabilities({"mid": 2 + noise[0], "top": 3 + noise[1], "low": 1 + noise[2]})
    assert found["top"].tolist() == [1, 0, 0]
    assert found["mid"].tolist() == [0, 1, 0]
    assert found["low"].tolist() == [0, 0, 1]


def test_ranks_of_the_same_distribution_are_not() -> None:
    rng = np.random.default_rng(6)
    found = statistics.rank_probabilities({name: rng.normal(1, 0.1, 50) for name in "ab"})
    for shares in found.values():
        assert shares.sum() == pytest.approx(1.0)
    assert sum(found.values()) == pytest.approx([1.0, 1.0])
    assert 0.0 < found["a"][0] < 1.0


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ([1, 1.1, 0.9, 1.05, 0.95, 50], [5]),
        ([1, 1.1, 0.9, 1.05, 0.95, 1], []),
        ([1, 1, 1, 1, 9], []),  # more than half are equal: no deviation to measure by
        ([], []),
    ],
)
def test_outliers(values: list[float], wrong: list[int]) -> None:
    assert np.flatnonzero(statistics.outliers(values)).tolist() == wrong


def test_resolved_needs_every_interval() -> None:
    narrow = Interval(estimate=1.0, low=0.99, high=1.01, count=9)
    wide = Interval(estimate=1.0, low=0.9, high=1.1, count=9)
    assert statistics.resolved([narrow, narrow], 0.03)
    assert not statistics.resolved([narrow, wide], 0.03)
    assert not statistics.resolved([narrow], 0.02), "as wide as the target is not narrower"
    assert narrow.scaled(2.0) == Interval(estimate=2.0, low=1.98, high=2.02, count=9)
