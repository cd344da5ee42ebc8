from __future__ import annotations

import pytest

from stmbench.analyses.profile.tasks import passes_for
from stmbench.analyses.profile.timing_harness import quick_minimum, repeated

CASES = [
    # durations, the shortest, how many were taken
    ([0.10, 0.10, 0.10, 9.0], 0.10, 3),
    ([0.30, 0.10, 0.20, 0.101, 0.104, 9.0], 0.10, 5),
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.1, 6),
    ([1.5, 1.0, 0.1], 1.0, 2),
]


@pytest.mark.parametrize(("durations", "shortest", "taken"), CASES)
def test_the_quick_minimum_stops_when_three_agree(durations: list[float], shortest: float, taken: int) -> None:
    script = iter(durations)
    assert quick_minimum(lambda: next(script), max_seconds=2.0) == shortest
    assert len(list(script)) == len(durations) - taken


@pytest.mark.parametrize(("batch", "rate", "passes"), [(1, 10.0, 1), (8, 400.0, 1), (8, 4000.0, 10), (1, 125.0, 3)])
def test_a_sample_lasts_twenty_milliseconds(batch: int, rate: float, passes: int) -> None:
    assert passes_for(batch, rate) == passes
    assert passes * batch / rate >= 0.02


def test_a_pass_is_repeated() -> None:
    calls: list[int] = []
    repeated(lambda: calls.append(1), 3)()
    assert calls == [1, 1, 1]
