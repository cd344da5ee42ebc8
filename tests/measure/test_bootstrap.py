"""The bootstrap: paired ratios, blocks of neighbouring rounds, means over images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import bootstrap
from stmbench.measure.bootstrap import (
    autocorrelation,
    block_length,
    block_resamples,
    group_weights,
    jackknife_interval,
    mean_intervals,
    median_interval,
    median_standard_error,
    paired_ratio,
    percentile_interval,
    quantile_interval,
    rank_probabilities,
    resampled_means,
    round_interval,
    widening_factor,
)
from stmbench.measure.statistics import Floats


def test_a_constant_ratio_is_known_exactly() -> None:
    base = np.array([1.0, 5.0, 2.0, 9.0, 4.0])
    ratio = paired_ratio(3 * base, base)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((3.0, 3.0, 3.0))
    assert ratio.count == 5
    assert ratio.relative_width == pytest.approx(0.0, abs=1e-12)


def test_pairing_removes_variation_shared_by_rounds() -> None:
    rng = np.random.default_rng(0)
    burst = rng.lognormal(0, 0.5, 40)  # the machine's speed, round by round
    a, b = 2.0 * burst * rng.lognormal(0, 0.01, 40), burst * rng.lognormal(0, 0.01, 40)
    assert paired_ratio(a, b).relative_width < 0.02
    assert median_interval(a).relative_width > 0.2


def test_swapping_the_two_inverts_the_ratio() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(0, 0.1, 15), rng.lognormal(0.3, 0.1, 15)
    one, other = paired_ratio(a, b), paired_ratio(b, a)
    assert one.estimate * other.estimate == pytest.approx(1.0)
    assert one.low * other.high == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("rounds", [10, 20, 40])
def test_interval_has_its_nominal_coverage(rounds: int) -> None:
    rng = np.random.default_rng(2)
    covered, trials = 0, 300
    for _ in range(trials):
        a, b = 1.7 * rng.lognormal(0, 0.1, rounds), rng.lognormal(0, 0.1, rounds)
        ratio = paired_ratio(a, b, draws=500)
        covered += ratio.low <= 1.7 <= ratio.high
    assert 0.90 <= covered / trials <= 0.99


def test_the_same_samples_give_the_same_interval() -> None:
    values = np.random.default_rng(3).normal(10, 1, 30)
    assert median_interval(values, seed=5) == median_interval(values, seed=5)
    assert median_interval(values, seed=5) != median_interval(values, seed=6)


def test_quantiles_of_known_samples() -> None:
    values = np.arange(100.0).reshape(25, 4)
    interval = quantile_interval(values, 0.9)
    assert interval.estimate == pytest.approx(np.quantile(np.arange(100.0), 0.9))
    assert interval.low < interval.estimate < interval.high <= 99
    assert interval.count == 25


def test_rounds_are_resampled_whole() -> None:
    # two kinds of rounds, alike inside: with runs resampled one by one the interval would be four times as narrow
    random = np.random.default_rng(4)
    rounds = np.repeat(random.normal(0, 1, 30)[:, None], 16, axis=1)
    whole = median_interval(rounds)
    single = median_interval(random.permutation(rounds.reshape(-1)))
    assert whole.high - whole.low > 2 * (single.high - single.low)


@pytest.mark.parametrize(
    ("values", "estimate", "width"), [([], math.nan, math.inf), ([2.0], 2.0, math.inf), ([0.0, 0.0], 0.0, math.inf)]
)
def test_median_interval_of_few_samples(values: list[float], estimate: float, width: float) -> None:
    interval = median_interval(values)
    assert interval.estimate == pytest.approx(estimate, nan_ok=True)
    assert interval.relative_width == width


def test_ranks_without_overlap_are_certain() -> None:
    noise = np.random.default_rng(5).normal(0, 0.01, (3, 20))
    probabilities = rank_probabilities({"mid": 2 + noise[0], "top": 3 + noise[1], "low": 1 + noise[2]})
    assert probabilities["top"].tolist() == [1, 0, 0]
    assert probabilities["mid"].tolist() == [0, 1, 0]
    assert probabilities["low"].tolist() == [0, 0, 1]


def test_ranks_of_the_same_distribution_are_not() -> None:
    rng = np.random.default_rng(6)
    probabilities = rank_probabilities({name: rng.normal(1, 0.1, 50) for name in "ab"})
    for shares in probabilities.values():
        assert shares.sum() == pytest.approx(1.0)
    assert sum(probabilities.values()) == pytest.approx([1.0, 1.0])
    assert 0.0 < probabilities["a"][0] < 1.0


def series(rho: float, count: int, random: np.random.Generator) -> Floats:
    """(count,) normal values, each correlated with the one before by `rho`."""
    values = random.standard_normal(count + 50)
    for number in range(1, len(values)):
        values[number] = rho * values[number - 1] + math.sqrt(1 - rho**2) * values[number]
    return values[50:]


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_the_correlation_of_neighbours_is_found(rho: float) -> None:
    random = np.random.default_rng(0)
    estimates = [autocorrelation(series(rho, 100, random)) for _ in range(50)]
    assert np.mean(estimates) == pytest.approx(rho, abs=0.06)  # of ranks, and cut at 0


def test_few_or_equal_rounds_have_no_correlation() -> None:
    assert autocorrelation(np.arange(9.0)) == 0
    assert autocorrelation(np.ones(40)) == 0
    assert autocorrelation(np.tile([1.0, 2.0], 20)) == 0
    assert autocorrelation(np.arange(40.0)) == 0.9
    values = np.random.default_rng(0).integers(0, 5, 60)
    assert autocorrelation(-values) == pytest.approx(autocorrelation(values))


@pytest.mark.parametrize(
    ("correlation", "count", "length"),
    [(0.0, 100, 1), (0.3, 100, 5), (0.6, 100, 9), (0.6, 400, 13), (0.6, 12, 3), (0.9, 3, 1)],
)
def test_blocks_grow_with_the_correlation_and_the_rounds(correlation: float, count: int, length: int) -> None:
    assert block_length(correlation, count) == length


def test_widening_factor_by_hand() -> None:
    assert widening_factor(0.0, 1, 50) == 1
    assert widening_factor(0.5, 1, 50) == pytest.approx(math.sqrt(3 * 50 / 49))  # single rounds cut off all of it
    assert widening_factor(0.5, 2, 50) == pytest.approx(math.sqrt(3 / 1.5 * 50 / 48))


def test_blocks_are_whole_and_wrap() -> None:
    drawn = block_resamples(10, length=4, draws=200, seed=0)
    assert drawn.shape == (200, 10)
    steps = np.diff(drawn[:, :4], axis=1) % 10
    assert (steps == 1).all()
    assert set(np.unique(drawn)) == set(range(10))
    assert (block_resamples(10, draws=3, seed=1) == np.random.default_rng(1).integers(0, 10, size=(3, 10))).all()


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_ratios_of_rounds_in_bursts_are_covered(rho: float) -> None:
    random = np.random.default_rng(3)
    held = []
    for seed in range(150):
        ratio = paired_ratio(np.exp(0.1 * series(rho, 60, random)), np.ones(60), draws=200, seed=seed)
        held.append(ratio.low <= 1 <= ratio.high)
    assert np.mean(held) >= 0.87  # single rounds: 0.93, 0.85, 0.74


def test_ranks_of_rounds_in_bursts_are_less_sure() -> None:
    values = 1 + 0.05 * np.sin(np.arange(60) / 5)  # ahead for a while, behind for a while
    other = np.ones(60)
    other[:3] = 0.999
    probabilities = rank_probabilities({"a": values + 0.02, "b": other}, seed=0)
    assert 0.55 < probabilities["a"][0] < 0.97


def test_the_standard_error_of_a_share() -> None:
    correct = np.r_[np.ones(300), np.zeros(100)]
    (interval,) = mean_intervals(correct[:, None])
    error = math.sqrt(0.75 * 0.25 / 400)
    assert interval.estimate == 0.75
    assert interval.count == 400
    assert interval.low == pytest.approx(0.75 - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(0.75 + 1.96 * error, abs=0.15 * error)


def test_mean_interval_equals_the_plain_bootstrap() -> None:
    values = np.random.default_rng(1).normal(size=50)
    (ours,), plain = mean_intervals(values[:, None], seed=2), round_interval(values, np.mean, seed=2)
    assert ours.estimate == pytest.approx(plain.estimate)
    assert [ours.low, ours.high] == pytest.approx([plain.low, plain.high], abs=0.03)


def test_each_draw_has_the_same_images_for_every_quantity() -> None:
    values = np.random.default_rng(1).normal(size=(40, 1))
    means = resampled_means(np.hstack([values, 3 * values, np.ones((40, 1))]), draws=50)
    assert np.allclose(means[:, 1], 3 * means[:, 0])
    assert np.allclose(means[:, 2], 1)


def test_drawing_in_steps_needs_little_memory_and_covers_every_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "IMAGES_PER_STEP", 100)
    means = resampled_means(np.arange(30.0)[:, None], draws=50)
    assert means.shape == (50, 1)
    assert abs(means.mean() - 14.5) < 1


def test_seed_fixes_the_draws() -> None:
    values = np.random.default_rng(0).normal(size=(30, 1))
    assert mean_intervals(values, seed=1) == mean_intervals(values, seed=1)
    assert mean_intervals(values, seed=1) != mean_intervals(values, seed=2)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_have_no_interval(count: int) -> None:
    intervals = mean_intervals(np.ones((count, 2)))
    assert len(intervals) == (2 if count else 0)
    assert all(math.isnan(one.low) and math.isnan(one.high) and one.estimate == 1 for one in intervals)


def test_standard_error_grows_with_correlation_of_neighbours() -> None:
    random = np.random.default_rng(1)
    lonely = random.standard_normal(600)
    bursts = np.repeat(random.standard_normal(100), 6)
    assert median_standard_error(lonely) == pytest.approx(1.2533 / math.sqrt(600), rel=0.35)
    assert median_standard_error(bursts) > 1.7 * median_standard_error(lonely)


def test_group_weights_give_the_mean_over_images_of_resampled_groups() -> None:
    counts, values = np.tile([1, 3], 100), np.tile([2.0, 8.0], 100)  # every image of a group has its value
    weights = np.concatenate(list(group_weights(counts, draws=400, step=64, seed=0)))
    assert weights.shape == (400, 200)
    assert weights @ counts == pytest.approx(np.ones(400))  # a mean of ones is one
    assert (weights @ (values * counts)).mean() == pytest.approx((2 + 3 * 8) / 4, abs=0.05)
    steps = np.concatenate(list(group_weights(counts, draws=400, step=400, seed=0)))
    assert (steps == weights).all()


def test_percentile_intervals_propagate_nan_unless_told_to_omit_it() -> None:
    drawn = np.r_[np.arange(101.0), np.nan]
    assert math.isnan(percentile_interval(50.0, drawn, 7).low)
    interval = percentile_interval(50.0, drawn, 7, omit_nan=True)
    assert (interval.low, interval.high, interval.count) == (pytest.approx(2.5), pytest.approx(97.5), 7)
    assert math.isnan(percentile_interval(50.0, np.empty(0), 1).high)


def test_the_jackknife_of_a_mean_is_its_normal_interval() -> None:
    values = np.random.default_rng(0).normal(size=50)
    left_out = (values.sum() - values) / 49
    interval = jackknife_interval(float(values.mean()), left_out, 50)
    width = 1.959964 * values.std(ddof=1) / math.sqrt(50)
    assert (interval.low, interval.high) == pytest.approx((values.mean() - width, values.mean() + width), rel=1e-6)
    assert math.isnan(jackknife_interval(1.0, [1.0], 1).low)
