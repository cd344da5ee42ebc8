"""Intervals: width, scale and whether they are resolved; the outlier rule, and which rounds it drops."""

from __future__ import annotations

import numpy as np
import pytest

from stmbench.measure import statistics
from stmbench.measure.statistics import Interval, kept_rounds, outliers


def test_resolved_needs_every_interval() -> None:
    narrow = Interval(estimate=1.0, low=0.99, high=1.01, count=9)
    wide = Interval(estimate=1.0, low=0.9, high=1.1, count=9)
    assert statistics.all_resolved([narrow, narrow], 0.03)
    assert not statistics.all_resolved([narrow, wide], 0.03)
    assert not statistics.all_resolved([narrow], 0.02), "as wide as the target is not narrower"
    assert narrow.scaled(2.0) == Interval(estimate=2.0, low=1.98, high=2.02, count=9)


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
    assert np.flatnonzero(outliers(values)).tolist() == wrong


def test_rounds_are_dropped_by_their_probes_alone_and_never_most_of_them() -> None:
    random = np.random.default_rng(2)
    quiet = random.lognormal(0, 0.01, 100)
    burst = quiet.copy()
    burst[40:50] *= 3
    assert (np.flatnonzero(~kept_rounds(quiet, burst)) >= 40).sum() == 10
    assert kept_rounds(burst, quiet).tolist() == kept_rounds(quiet, burst).tolist()
    two_speeds = np.where(np.arange(100) % 3 == 0, 2.0, 1.0) * quiet
    assert kept_rounds(two_speeds).all()
    assert kept_rounds(burst[40:59]).all()


def test_the_fewest_rounds_that_are_judged_are_the_callers_choice() -> None:
    probe = np.r_[np.linspace(1, 1.02, 11), 5.0]
    assert kept_rounds(probe).all()
    assert np.flatnonzero(~kept_rounds(probe, min_rounds=10)).tolist() == [11]
