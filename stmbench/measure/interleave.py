"""Subjects measured in turn, round by round, in a fresh random order each round.

A shared machine's speed drifts over seconds; two things compared must be measured close together, and neither always
after the same neighbour. The generator yields one round at a time, so that its caller can store blocks and stop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One duration: `subject` was the `order`-th of its round, and this is its `repeat`-th run in a row."""

    round: int
    order: int
    subject: str
    repeat: int
    seconds: float


def order_of(subjects: list[str], *, seed: int, number: int) -> list[str]:
    """The order of round `number`: a function of the seed and the number alone, so that a resumed run continues it."""
    shuffled = np.random.default_rng([seed, number]).permutation(len(subjects))
    return [subjects[i] for i in shuffled]


def rounds(
    subjects: Mapping[str, Callable[[], float]],
    *,
    seed: int,
    first: int = 0,
    repeats: Mapping[str, int] | None = None,
) -> Iterator[list[Sample]]:
    """Yield rounds for ever, from number `first` on; each holds `repeats[subject]` (default 1) samples a subject.

    Args:
        subjects: name -> a function that runs it once and returns its seconds.
        seed: of the orders, >= 0.
        first: number of the first round; where an earlier run stopped.
        repeats: runs in a row within a round.
    """
    names, number = list(subjects), first
    while True:
        yield [
            Sample(round=number, order=place, subject=name, repeat=repeat, seconds=subjects[name]())
            for place, name in enumerate(order_of(names, seed=seed, number=number))
            for repeat in range((repeats or {}).get(name, 1))
        ]
        number += 1
