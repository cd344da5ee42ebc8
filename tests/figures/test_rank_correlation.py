"""Spearman's rank correlation: known values, and an interval that knows of models and of their trainings."""

from __future__ import annotations

import numpy as np
import pytest

from stmbench.figures.rank_correlation import correlation_words, spearman


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ((1, 2, 3, 4, 5), (2, 1, 4, 3, 5), 0.8),
        ((1, 2, 3, 4, 5), (9, 8, 3, 2, 1), -1.0),
        ((1, 2, 2, 3), (1, 2, 3, 4), 0.9486833),  # ties at their mean rank
    ],
)
def test_rank_correlation(x: tuple[float, ...], y: tuple[float, ...], expected: float) -> None:
    value, low, high = spearman(x, y)
    assert value == pytest.approx(expected)
    assert -1 - 1e-9 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1 + 1e-9
    assert np.isnan(spearman(x, (1.0,) * len(x))[0])


def test_trainings_count_by_their_mean_and_widen_the_interval() -> None:
    x, sure = [1.0, 2, 3, 4, 5, 6], [[1.0, 1, 1], [2.0, 2, 2], [3.0, 3, 3], [4.0, 4, 4], [5.0, 5, 5], [6.0, 6, 6]]
    assert spearman(x, sure)[:2] == pytest.approx((1, 1))
    unsure = [[value - 6, value, value + 6] for value in x]
    value, low, high = spearman(x, unsure)
    assert value == pytest.approx(1)
    assert low < 0.5
    assert high > 0.9


def test_words() -> None:
    assert correlation_words(0.8, -0.1, 1) == "0.80 (95 %: \N{MINUS SIGN}0.10 to 1.00)"
