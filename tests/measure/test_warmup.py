from __future__ import annotations

import pytest

from stmbench.measure.warmup import warm_up

CASES = [
    # durations, runs, steady
    ([5.0, 2.0, 1.0, 1.0, 1.05, 9.0], 5, True),
    ([1.0, 1.0, 1.0, 9.0], 3, True),
    ([1.0, 2.0] * 20, 6, False),  # never steady: the maximum ends it
    ([8.0, 1.0, 9.0], 3, False),  # never steady: the seconds end it
]


@pytest.mark.parametrize(("durations", "runs", "steady"), CASES)
def test_it_stops_when_steady_or_at_its_limits(durations: list[float], runs: int, steady: bool) -> None:
    script = iter(durations)
    found = warm_up(lambda: next(script), window=3, tolerance=0.1, maximum=6, max_seconds=15.0)
    assert (found.runs, found.steady) == (runs, steady)
    assert found.seconds == pytest.approx(sum(durations[:runs]))
    assert found.last == durations[runs - 1]
