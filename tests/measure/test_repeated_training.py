"""Differences of models that were trained several times: Student's t, and both parts of the variance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure.effects import paired_difference
from stmbench.measure.repeated_training import (
    combined,
    repeated_difference,
    repeated_interval_difference,
    t_quantile,
    t_tail,
)
from stmbench.measure.statistics import Interval

# printed tables of Student's t, two-sided 95 %
QUANTILES = ((1, 12.706), (2, 4.303), (3, 3.182), (10, 2.228), (30, 2.042), (1000, 1.962))


@pytest.mark.parametrize(("freedom", "value"), QUANTILES)
def test_quantiles_are_those_of_printed_tables(freedom: int, value: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(value, abs=5e-4)
    assert t_tail(value, freedom) == pytest.approx(0.025, rel=2e-3)


def test_tail_equals_its_closed_forms() -> None:
    assert t_tail(3.0, 1) == pytest.approx(0.5 - math.atan(3) / math.pi, rel=1e-9)  # Cauchy
    assert t_tail(3.0, 2) == pytest.approx(0.5 - 3 / (2 * math.sqrt(11)), rel=1e-9)


def test_one_seed_is_the_paired_difference() -> None:
    generator = np.random.default_rng(0)
    base, head = generator.integers(0, 2, (2, 1, 40)).astype(float)
    assert repeated_difference(base, head, reach=1.0) == paired_difference(base[0], head[0], reach=1.0)


def test_seeds_that_disagree_widen_the_interval() -> None:
    generator = np.random.default_rng(1)
    base = generator.integers(0, 2, (3, 400)).astype(float)
    same = base.copy()
    same[:, :40] = 1.0  # every seed gains on the same images
    varying = base.copy()
    varying[0, :120] = 1.0  # one seed gains three times as much, the others nothing
    one, other = (repeated_difference(base, head, reach=1.0) for head in (same, varying))
    assert one.p_value < 0.05 < other.p_value
    assert np.diff(other.interval) > 4 * np.diff(one.interval)


def test_two_parts_of_the_variance_add_up() -> None:
    by_seed = np.array([0.01, 0.03, 0.02])
    effect = combined(by_seed, 0.004, count=500)
    seeds = by_seed.var(ddof=1) / 3
    assert effect.estimate == pytest.approx(0.02)
    assert effect.error**2 == pytest.approx(seeds + 0.004**2)
    freedom = effect.error**4 / (seeds**2 / 2 + 0.004**4 / 499)
    assert effect.interval[1] - 0.02 == pytest.approx(t_quantile(0.975, freedom) * effect.error)


def test_intervals_cover_the_truth_of_crossed_seeds_and_images() -> None:
    """600 studies of 3 seeds and 100 images: 95 % intervals cover at least 94 % and not nearly all."""
    generator, hits = np.random.default_rng(2), 0
    for _ in range(600):
        seeds, images = generator.normal(0, 0.1, (3, 1)), generator.normal(0, 0.5, (1, 100))
        noise = generator.normal(0, 0.3, (3, 100))
        low, high = repeated_difference(np.zeros((3, 100)), 0.05 + seeds + images + noise, reach=1.0).interval
        hits += low <= 0.05 <= high
    assert 0.93 <= hits / 600 <= 0.995


def test_rounding_to_steps_is_part_of_the_error_of_intervals() -> None:
    point = Interval(estimate=0.5, low=0.5, high=0.5, count=32)
    effect = repeated_interval_difference([point], [point], resolution=0.06)
    assert effect.error == pytest.approx(0.06 * math.sqrt(1 / 6))
    assert repeated_interval_difference([point] * 2, [point] * 2).error == 0.0


def test_shapes_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds, images"):
        repeated_difference(np.zeros((2, 3)), np.zeros((3, 3)))
