"""Run until steady: the first passes pay for caches, compilation and frequency, and are no sample of anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warmup:
    """What the warm-up saw: its passes, whether they became steady, seconds of the last one and of all of them."""

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
    """Call `sample` until its last `window` durations lie within `tolerance` of each other.

    Args:
        sample: runs the work once and returns its seconds.
        window: how many durations in a row have to agree; at least 2.
        tolerance: (slowest - fastest) / fastest of the window, at most.
        maximum: passes after which it stops anyway, not steady.
        max_seconds: seconds of work after which it stops anyway.
    """
    seen: list[float] = []
    while len(seen) < maximum:
        seen.append(sample())
        last = seen[-window:]
        if len(last) == window and max(last) - min(last) <= tolerance * min(last):
            return Warmup(runs=len(seen), steady=True, last=seen[-1], seconds=sum(seen))
        if sum(seen) >= max_seconds:
            break
    return Warmup(runs=len(seen), steady=False, last=seen[-1], seconds=sum(seen))
