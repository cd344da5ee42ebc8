"""Intervals: width, scale and whether they are resolved."""

from __future__ import annotations

from stmbench.measure import statistics
from stmbench.measure.statistics import Interval


def test_resolved_needs_every_interval() -> None:
    narrow = Interval(estimate=1.0, low=0.99, high=1.01, count=9)
    wide = Interval(estimate=1.0, low=0.9, high=1.1, count=9)
    assert statistics.all_resolved([narrow, narrow], 0.03)
    assert not statistics.all_resolved([narrow, wide], 0.03)
    assert not statistics.all_resolved([narrow], 0.02), "as wide as the target is not narrower"
    assert narrow.scaled(2.0) == Interval(estimate=2.0, low=1.98, high=2.02, count=9)
