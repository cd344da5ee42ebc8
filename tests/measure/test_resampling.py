"""The bootstrap over images: against formulas, and against the plain one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import resampling
from stmbench.measure.resampling import mean_intervals, resampled_means
from stmbench.measure.statistics import interval


def test_the_standard_error_of_a_share() -> None:
    correct = np.r_[np.ones(300), np.zeros(100)]
    (found,) = mean_intervals(correct[:, None])
    error = math.sqrt(0.75 * 0.25 / 400)
    assert found.estimate == 0.75
    assert found.count == 400
    assert found.low == pytest.approx(0.75 - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(0.75 + 1.96 * error, abs=0.15 * error)


def test_as_the_plain_bootstrap_has_it() -> None:
    values = np.random.default_rng(1).normal(size=50)
    (ours,), plain = mean_intervals(values[:, None], seed=2), interval(values, np.mean, seed=2)
    assert ours.estimate == pytest.approx(plain.estimate)
    assert [ours.low, ours.high] == pytest.approx([plain.low, plain.high], abs=0.03)


def test_each_draw_has_the_same_images_for_every_quantity() -> None:
    values = np.random.default_rng(1).normal(size=(40, 1))
    means = resampled_means(np.hstack([values, 3 * values, np.ones((40, 1))]), draws=50)
    assert np.allclose(means[:, 1], 3 * means[:, 0])
    assert np.allclose(means[:, 2], 1)


def test_drawing_in_steps_needs_little_memory_and_covers_every_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "AT_ONCE", 100)
    means = resampled_means(np.arange(30.0)[:, None], draws=50)
    assert means.shape == (50, 1)
    assert abs(means.mean() - 14.5) < 1


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=(30, 1))
    assert mean_intervals(values, seed=1) == mean_intervals(values, seed=1)
    assert mean_intervals(values, seed=1) != mean_intervals(values, seed=2)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_have_no_interval(count: int) -> None:
    found = mean_intervals(np.ones((count, 2)))
    assert len(found) == (2 if count else 0)
    assert all(math.isnan(one.low) and math.isnan(one.high) and one.estimate == 1 for one in found)
