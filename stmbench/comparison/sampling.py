"""One model sampled at base and at head in turn, round by round, until the verdict is clear or the time is spent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from stmbench.comparison.config import LOOKS, LiveConfig
from stmbench.comparison.process import Worker
from stmbench.measure.interleaving import round_order
from stmbench.measure.outliers import kept_rounds
from stmbench.measure.statistics import Floats
from stmbench.measure.verdicts import Effect, between_group_error, decide_verdict, paired_effect

SIDES: Final = ("base", "head")
WALL, PROCESSOR = 0, 1
MIN_SAMPLE_SECONDS = 0.04  # a shorter sample would be the clock's and the scheduler's
WARMUP_RUNS = 3
# Standard deviation of log(head / base) of equal code between layouts of memory, beyond what rounds differ by. Measured
# by benchmarks/compare.py, docs/compare.md.
BETWEEN_LAYOUTS = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """One round: [base, head] by clock; `first` is the side that went first."""

    first: str
    probe: tuple[tuple[float, float], tuple[float, float]]  # side -> wall clock and processor seconds
    passes: tuple[tuple[float, float], tuple[float, float]]


@dataclasses.dataclass(kw_only=True)
class Samples:
    """All rounds of one model, in order, and the seconds that they took."""

    rounds: list[Round] = dataclasses.field(default_factory=list)
    passes: int = 1  # in a sample
    seconds: float = 0.0
    layouts: list[int] = dataclasses.field(default_factory=list)  # the number of the first round of each

    def table(self, what: str, clock: int) -> Floats:
        """(2, rounds) seconds of 'probe' or 'passes' by side."""
        values = [getattr(round_, what) for round_ in self.rounds]
        return np.asarray(values, dtype=np.float64).reshape(-1, 2, 2)[:, :, clock].T

    def kept(self, clock: int) -> Any:
        """(rounds,) whether the probe was itself on both sides."""
        return kept_rounds(*self.table("probe", clock))

    def effect(self, clock: int, *, seed: int = 0) -> Effect:
        """log(head / base) over the rounds that count."""
        base, head = self.table("passes", clock)
        return self._effect(base, head, self.kept(clock), seed)

    def waiting(self, *, seed: int = 0) -> Effect:
        """log of how much more head than base waits: the ratio by the wall clock over that by the processor."""
        base, head = self.table("passes", WALL) / np.maximum(self.table("passes", PROCESSOR), 1e-9)
        return self._effect(base, head, self.kept(PROCESSOR), seed)

    def _effect(self, base: Floats, head: Floats, keep: Any, seed: int) -> Effect:
        effect = paired_effect(base[keep], head[keep], seed=seed)
        layout = np.searchsorted(self.layouts, np.flatnonzero(keep), side="right")
        seen = between_group_error(np.log(head[keep] / base[keep]), layout)
        error = max(effect.error, seen)
        return dataclasses.replace(effect, error=error).widened(BETWEEN_LAYOUTS / math.sqrt(max(1, len(self.layouts))))


def is_clear(samples: Samples, *, clock: int, margin: float, tests: int, seed: int = 0) -> bool:
    """Whether sampling may stop: a change or its absence is sure, all looks and `tests` comparisons considered."""
    effect = samples.effect(clock, seed=seed)
    if math.isinf(effect.error) or math.isnan(effect.estimate):
        return False
    corrected = min(1.0, len(LOOKS) * tests * effect.p_value)
    return decide_verdict(effect, corrected, margin=math.log1p(margin)) != "inconclusive"


def sample(
    workers: Sequence[Worker],
    load: Callable[[], object],
    config: LiveConfig,
    *,
    tests: int,
    clock: Callable[[], float],
    tell: Callable[[Samples], None],
    seed: int,
) -> Samples:
    """Rounds of one model.

    Args:
        workers: of base and head, with the model loaded.
        load: builds it anew on both sides; called for each further layout of memory.
        tests: comparisons that share alpha.
        clock: seconds, for the time limit.
        tell: told after each round.

    Raises:
        WorkerError: what the workers raise.
    """
    samples, chosen = Samples(), PROCESSOR if config.chosen_clock == "processor" else WALL
    for number in range(1, config.layouts + 1):
        if samples.layouts:
            load()
        shortest = _warmed(workers, chosen, samples.passes, WARMUP_RUNS if number == 1 else 1)
        if number == 1:
            samples.passes = max(1, math.ceil(MIN_SAMPLE_SECONDS / max(shortest, 1e-6)))
        samples.layouts.append(len(samples.rounds))
        while samples.seconds < number * config.seconds / config.layouts:
            start = clock()
            samples.rounds.append(_round(workers, samples.passes, config.cores, number=len(samples.rounds), seed=seed))
            samples.seconds += clock() - start
            tell(samples)
        if number in config.looks and is_clear(
            samples, clock=chosen, margin=config.margin, tests=tests, seed=config.seed
        ):
            break
    return samples


def _round(workers: Sequence[Worker], passes: int, cores: Sequence[int], *, number: int, seed: int) -> Round:
    """Both sides on one core, in random order. Left alone each stays on a core of its own, and one core is busier."""
    order = round_order(list(SIDES), seed=seed, number=number)
    core = int(round_order(list(map(str, cores)), seed=seed + 1, number=number)[0]) if cores else None
    answers = {side: workers[SIDES.index(side)].ask("run", passes=passes, core=core) for side in order}
    base, head = (answers[side] for side in SIDES)
    return Round(
        first=order[0],
        probe=(tuple(base["probe"]), tuple(head["probe"])),
        passes=(tuple(base["passes"]), tuple(head["passes"])),
    )


def _warmed(workers: Sequence[Worker], clock: int, passes: int, runs: int) -> float:
    """Runs both sides a few times, which is no sample of anything; seconds of the shortest pass."""
    answers = [worker.ask("run", passes=passes, core=None) for worker in workers for _ in range(runs)]
    return min(float(answer["passes"][clock]) / passes for answer in answers)
