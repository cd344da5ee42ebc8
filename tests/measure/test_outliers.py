"""The outlier rule, and which rounds it drops."""

from __future__ import annotations

import numpy as np
import pytest

from stmbench.measure.outliers import kept_rounds, outliers


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
