from __future__ import annotations

import itertools
from collections import Counter

import pytest

from stmbench.measure.interleaving import round_order, rounds, warm_up


def test_each_round_holds_every_subject_as_often_as_asked() -> None:
    calls: list[str] = []

    def workload(name: str, seconds: float):
        def run() -> float:
            calls.append(name)
            return seconds

        return run

    workloads = {"a": workload("a", 1.0), "b": workload("b", 2.0), "c": workload("c", 3.0)}
    taken = list(itertools.islice(rounds(workloads, seed=3, repeats={"b": 2}), 50))
    for number, samples in enumerate(taken):
        assert [s.round for s in samples] == [number] * 4
        assert Counter(s.workload for s in samples) == {"a": 1, "b": 2, "c": 1}
        assert sorted(s.repeat for s in samples if s.workload == "b") == [0, 1]
        assert {s.workload: s.seconds for s in samples} == {"a": 1.0, "b": 2.0, "c": 3.0}
        assert [s.order for s in samples] == sorted(s.order for s in samples)
    assert calls == [s.workload for samples in taken for s in samples]


def test_orders_are_balanced_and_seeded() -> None:
    names = ["a", "b", "c"]
    orders = [tuple(round_order(names, seed=1, number=number)) for number in range(600)]
    counts = Counter(orders)
    assert set(counts) == set(itertools.permutations(names))
    assert min(counts.values()) > 60, "each of the six orders is due about 100 times"
    assert orders == [tuple(round_order(names, seed=1, number=number)) for number in range(600)]
    assert orders != [tuple(round_order(names, seed=2, number=number)) for number in range(600)]


def test_a_resumed_run_continues_the_rounds_of_the_first() -> None:
    workloads = {name: (lambda: 1.0) for name in "abcde"}
    whole = list(itertools.islice(rounds(workloads, seed=0), 10))
    rest = list(itertools.islice(rounds(workloads, seed=0, first=6), 4))
    assert rest == whole[6:]


CASES = [
    # durations, runs, steady
    ([5.0, 2.0, 1.0, 1.0, 1.05, 9.0], 5, True),
    ([1.0, 1.0, 1.0, 9.0], 3, True),
    ([1.0, 2.0] * 20, 6, False),  # never steady: the maximum ends it
    ([8.0, 1.0, 9.0], 3, False),  # never steady: the seconds end it
]


@pytest.mark.parametrize(("durations", "runs", "steady"), CASES)
def test_sampling_stops_when_steady_or_at_its_limits(durations: list[float], runs: int, steady: bool) -> None:
    script = iter(durations)
    warmed = warm_up(lambda: next(script), window=3, tolerance=0.1, maximum=6, max_seconds=15.0)
    assert (warmed.runs, warmed.steady) == (runs, steady)
    assert warmed.seconds == pytest.approx(sum(durations[:runs]))
    assert warmed.last == durations[runs - 1]
