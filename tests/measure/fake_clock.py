"""A clock that says what it is told to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable


class ScriptedTimer:
    """Gives the scripted durations in turn, over and over; `now` is the sum of all that it gave."""

    name = "scripted"

    def __init__(self, durations: Iterable[float] = (1.0,), *, runs: bool = True) -> None:
        self._durations = itertools.cycle(durations)
        self._runs = runs
        self.now = 0.0
        self.waited = 0

    def time(self, run: Callable[[], object]) -> float:
        if self._runs:
            run()
        seconds = next(self._durations)
        self.now += seconds
        return seconds

    def stamp(self) -> float:
        return self.now

    def between(self, start: float, end: float) -> float:
        return end - start

    def synchronize(self) -> None:
        self.waited += 1

    def spend(self, seconds: float) -> None:
        """Let time pass, as work between two stamps does."""
        self.now += seconds
