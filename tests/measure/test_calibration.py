"""Calibration error: by hand, and how often its interval covers the true one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure.calibration import bin_gaps, calibration_error


def test_calibration_error_by_hand() -> None:
    confidence, correct = np.array([0.95, 1.0, 0.85, 0.65]), np.array([1.0, 1.0, 0.0, 1.0])
    gaps = bin_gaps(confidence, correct)
    # 0.95 and 1.0 share a bin, right both: |1 - 0.975| of 2 in 4; the others are alone: |0 - 0.85| and |1 - 0.65|
    assert np.abs(gaps.mean(0)).sum() == pytest.approx(0.025 * 2 / 4 + 0.85 / 4 + 0.35 / 4)


def test_bins_are_closed_above() -> None:
    edges = np.arange(1, 16) / 15
    gaps = bin_gaps(edges, np.zeros(15))
    assert np.array_equal(np.flatnonzero(gaps), np.arange(15) * 16)  # the diagonal: (0, 1/15] is the first bin
    assert np.array_equal(bin_gaps(np.array([0.0]), np.ones(1))[0].nonzero()[0], [0])


@pytest.mark.parametrize("too_sure", [0.0, 0.2])
def test_calibration_error_of_models_whose_calibration_is_known(too_sure: float) -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.3, 1, 20_000)
    correct = (random.random(20_000) < confidence - too_sure).astype(float)
    assert np.abs(bin_gaps(confidence, correct).mean(0)).sum() == pytest.approx(too_sure, abs=0.012)


@pytest.mark.parametrize("too_sure", [0.0, 0.2])
@pytest.mark.parametrize("count", [40, 355])
def test_the_interval_covers_the_true_error(count: int, too_sure: float) -> None:
    random = np.random.default_rng(2)
    sure = random.uniform(0.1, 1, 200_000)
    true = np.abs(bin_gaps(sure, np.clip(sure - too_sure, 0, 1)).mean(0)).sum()
    covered = []
    for seed in range(80):
        confidence = random.uniform(0.1, 1, count)
        correct = (random.random(count) < confidence - too_sure).astype(float)
        error = calibration_error(confidence, correct, draws=200, seed=seed)
        assert error.low <= error.estimate <= error.high
        covered.append(error.low <= true <= error.high)
    assert np.mean(covered) >= 0.78


def test_significant_error_has_an_interval_above_0() -> None:
    confidence = np.full(200, 0.9)
    error = calibration_error(confidence, np.repeat([1.0, 0.0], 100))
    assert error.estimate == pytest.approx(0.4)
    assert error.low == pytest.approx(0.4 - 1.96 * 0.5 / math.sqrt(200), abs=0.01)


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_has_no_interval(count: int) -> None:
    error = calibration_error(np.full(count, 0.7), np.ones(count))
    assert math.isnan(error.low)
    assert error.count == count
    assert math.isnan(error.estimate) if count == 0 else error.estimate == pytest.approx(0.3)
