"""Intervals of shares against published values, and at the edges where a bootstrap has no width."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure.proportions import mean_proportion, paired_proportion_difference, proportion


def _hits(number: int, count: int) -> np.ndarray:
    return np.arange(count) < number


@pytest.mark.parametrize(
    ("number", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 1 - 0.1170, 1.0),
    ],
)
def test_the_share_has_wilsons_interval(number: int, count: int, low: float, high: float) -> None:
    interval = proportion(_hits(number, count))
    assert (interval.estimate, interval.count) == (number / count, count)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_difference_has_agresti_and_mins_interval() -> None:
    first = np.asarray([True] * 9 + [False] * 1 + [True] * 10)  # 9 of the first alone, 1 of the second alone
    second = np.asarray([False] * 9 + [True] * 1 + [True] * 10)
    interval = paired_proportion_difference(first, second)
    assert interval.estimate == pytest.approx(8 / 20)
    margin = 1.959964 * math.sqrt((9.5 + 1.5) - (9.5 - 1.5) ** 2 / 22) / 22
    assert (interval.low, interval.high) == (pytest.approx(8 / 22 - margin), pytest.approx(8 / 22 + margin))
    turned = paired_proportion_difference(second, first)
    assert (turned.estimate, turned.low, turned.high) == (-interval.estimate, -interval.high, -interval.low)


@pytest.mark.parametrize(("mine", "theirs"), [(0, 0), (40, 40), (40, 0), (0, 40), (7, 7)])
def test_interval_of_full_agreement_has_a_width(mine: int, theirs: int) -> None:
    interval = paired_proportion_difference(_hits(mine, 40), _hits(theirs, 40))
    assert -1 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.high - interval.low > 0.05


def test_shares_near_1_are_covered() -> None:
    random = np.random.default_rng(0)
    for interval in (proportion, lambda hits: mean_proportion(hits.astype(float))):
        intervals = [interval(random.random(100) < 0.99) for _ in range(1000)]
        assert np.mean([one.low <= 0.99 <= one.high for one in intervals]) >= 0.9  # resampled images: 0.65


def test_a_mean_of_values_has_agresti_and_coulls_interval() -> None:
    interval, centre = mean_proportion(_hits(9, 10).astype(float)), (9 + 1.9207) / 13.8415
    margin = 1.959964 * math.sqrt(centre * (1 - centre) / 13.8415)
    assert (interval.estimate, interval.low, interval.high) == (0.9, pytest.approx(centre - margin, abs=1e-4), 1)
    many = mean_proportion(np.tile([0.25, 0.75], 5000))
    assert (many.low, many.high) == (pytest.approx(0.5 - 0.0049, abs=1e-5), pytest.approx(0.5 + 0.0049, abs=1e-5))
    assert mean_proportion(np.ones(20)).low == pytest.approx(0.81, abs=0.01)


def test_without_images_there_is_no_share() -> None:
    nothing = np.zeros(0, dtype=bool)
    for interval in (
        proportion(nothing),
        mean_proportion(nothing.astype(float)),
        paired_proportion_difference(nothing, nothing),
    ):
        assert interval.count == 0
        assert all(math.isnan(value) for value in (interval.estimate, interval.low, interval.high))
