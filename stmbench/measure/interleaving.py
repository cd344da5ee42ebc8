"""Warm-up, and then interleaved samples: models run in turn, round by round, in a new random order each round.

The speed of a shared machine drifts within seconds. Models that are compared must be measured close together, and none
of them always after the same neighbour. The generator yields one round at a time, so that its caller can store blocks
of rounds and stop at any point.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warmup:
    """The passes of a warm-up, whether they became steady, and the seconds of the last one and of all of them."""

    runs: int
    steady: bool
    last: float
    seconds: float


def warm_up(
    sample: Callable[[], float],
    *,
    window: int = 3,
    tolerance: float = 0.1,
    maximum: int = 20,
    max_seconds: float = 10.0,
) -> Warmup:
    """Run the work until its times are steady: the first passes pay for caches, compilation and clock frequency.

    Args:
        sample: runs the work once and returns its seconds.
        window: the number of consecutive times that have to agree, at least 2.
        tolerance: the largest (slowest - fastest) / fastest within the window.
        maximum: passes after which it stops even if not steady.
        max_seconds: seconds of work after which it stops even if not steady.
    """
    times: list[float] = []
    while len(times) < maximum:
        times.append(sample())
        last = times[-window:]
        if len(last) == window and max(last) - min(last) <= tolerance * min(last):
            return Warmup(runs=len(times), steady=True, last=times[-1], seconds=sum(times))
        if sum(times) >= max_seconds:
            break
    return Warmup(runs=len(times), steady=False, last=times[-1], seconds=sum(times))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One duration: `workload` ran as number `order` of the round, and this is run number `repeat` of it in a row."""

    round: int
    order: int
    workload: str
    repeat: int
    seconds: float


def round_order(workloads: list[str], *, seed: int, number: int) -> list[str]:
    """The order in round `number`, a function of seed and number alone, so that resumed runs continue the sequence."""
    shuffled = np.random.default_rng([seed, number]).permutation(len(workloads))
    return [workloads[i] for i in shuffled]


def rounds(
    workloads: Mapping[str, Callable[[], float]],
    *,
    seed: int,
    first: int = 0,
    repeats: Mapping[str, int] | None = None,
) -> Iterator[list[Sample]]:
    """Yield rounds without end; each has `repeats[workload]` (default 1) samples of every workload.

    Args:
        workloads: name -> a function that runs it once and returns its seconds.
        seed: of the orders, >= 0.
        first: the number of the first round, for a run that resumes.
        repeats: consecutive runs within a round.
    """
    names, number = list(workloads), first
    while True:
        yield [
            Sample(round=number, order=order, workload=name, repeat=repeat, seconds=workloads[name]())
            for order, name in enumerate(round_order(names, seed=seed, number=number))
            for repeat in range((repeats or {}).get(name, 1))
        ]
        number += 1
