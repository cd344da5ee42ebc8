"""Alternate rounds of one model at base and at head, until the verdict is clear or the time limit is reached.

A round is the probe and a sample of the model on both sides, in random order. Models are built anew several times: the
memory layout of a process makes it faster or slower than its twin for as long as it lives.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from stmbench.comparison.worker_process import Worker
from stmbench.errors import UnknownNameError, require
from stmbench.measure.backend_settings import require_dtype
from stmbench.measure.effects import Effect, between_group_error, decide_verdict, paired_effect
from stmbench.measure.interleaving import round_order
from stmbench.measure.statistics import Floats, kept_rounds

CLOCKS = ("auto", "processor", "wall")
# How often models are built anew, each time in a fresh process, within the time limit; at most every two seconds. The
# memory layout makes one of two equal processes faster by a percent or more.
LAYOUTS, LAYOUT_SECONDS = 12, 2.0
# Interim looks at the effect, after these shares of the layouts. Few of them: each is a chance of a false positive, and
# all share alpha.
LOOKS = (1 / 6, 1 / 3, 2 / 3, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """Options of a live comparison.

    `resolution` None means each model's design size, `threads` None torch's default. `seconds` is the time limit of
    sampling one model, `margin` the relative change of its time that matters. `plant` slows head down by that share of
    every pass, to test whether such a change would be found.
    """

    models: tuple[str, ...]
    batch_size: int = 4
    resolution: tuple[int, int] | None = None
    dtype: str = "fp32"
    device: str = "cpu"
    threads: int | None = 1
    clock: str = "auto"
    seconds: float = 60.0
    margin: float = 0.03
    confirm: bool = False
    plant: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(bool(self.models), "at least one model", "none", "name models, or a --scale")
        require(
            len(set(self.models)) == len(self.models),
            "each model once",
            ", ".join(self.models),
            "remove the duplicates",
        )
        require(self.batch_size >= 1, "a batch size of at least 1", self.batch_size, "change --batch-size")
        require(self.threads is None or self.threads >= 1, "at least 1 thread", self.threads, "change --threads")
        require(0 < self.seconds < math.inf, "a time limit above 0 s", self.seconds, "change --time-budget")
        require(0 < self.margin < 1, "a margin above 0 and below 1", self.margin, "3 % is --margin 0.03")
        require(0 <= self.plant <= 1, "a planted slowdown from 0 to 1", self.plant, "5 % is --plant 0.05")
        if self.clock not in CLOCKS:
            raise UnknownNameError("clock", self.clock, CLOCKS)
        on_device = self.clock == "processor" and self.device != "cpu"
        require_dtype(self.dtype, self.device)
        require(not on_device, "the wall clock on a device", "processor", "leave --clock out")

    @property
    def cores(self) -> tuple[int, ...]:
        """The cores that single-threaded rounds are spread over; empty if the system decides."""
        if self.device != "cpu" or self.threads != 1 or not hasattr(os, "sched_getaffinity"):
            return ()
        return tuple(sorted(os.sched_getaffinity(0)))

    @property
    def layouts(self) -> int:
        """How often a model is built within the time limit."""
        return min(LAYOUTS, max(1, round(self.seconds / LAYOUT_SECONDS)))

    @property
    def looks(self) -> set[int]:
        """Numbers of layouts after which sampling may stop."""
        return {math.ceil(share * self.layouts) for share in LOOKS}

    @property
    def chosen_clock(self) -> str:
        """'processor' for one thread on the CPU, else 'wall'.

        Processor time excludes other processes on the core, which on a shared machine at least halves the spread of
        samples. With several threads it would be their sum, spinning included, which is no speed.
        """
        if self.clock != "auto":
            return self.clock
        return "processor" if self.device == "cpu" and self.threads == 1 else "wall"

    @property
    def conditions(self) -> str:
        """The conditions as text, without the resolution."""
        threads = {None: "", 1: ", 1 thread"}.get(self.threads, f", {self.threads} threads")
        return f"batch {self.batch_size}, {self.dtype}, {self.device}{threads if self.device == 'cpu' else ''}"


SIDES: Final = ("base", "head")
WALL, PROCESSOR = 0, 1
MIN_SAMPLE_SECONDS = 0.04  # shorter samples would measure the clock and the scheduler
WARMUP_RUNS = 3
# Standard deviation of log(head / base) of equal code between memory layouts, beyond the spread of rounds. Measured
# by benchmarks/compare.py; see docs/compare.md.
BETWEEN_LAYOUTS = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """One round; `first` is the side that ran first."""

    first: str
    probe: tuple[tuple[float, float], tuple[float, float]]  # (base, head) -> (wall clock, processor) seconds
    passes: tuple[tuple[float, float], tuple[float, float]]


@dataclasses.dataclass(kw_only=True)
class Samples:
    """All rounds of one model, in order, and their duration in seconds."""

    rounds: list[Round] = dataclasses.field(default_factory=list)
    passes: int = 1  # per sample
    seconds: float = 0.0
    layouts: list[int] = dataclasses.field(default_factory=list)  # index of the first round of each

    def table(self, what: str, clock: int) -> Floats:
        """(2, rounds) seconds of 'probe' or 'passes' by side."""
        values = [getattr(round_, what) for round_ in self.rounds]
        return np.asarray(values, dtype=np.float64).reshape(-1, 2, 2)[:, :, clock].T

    def kept(self, clock: int) -> Any:
        """(rounds,) whether the probe was undisturbed on both sides."""
        return kept_rounds(*self.table("probe", clock))

    def effect(self, clock: int, *, seed: int = 0) -> Effect:
        """log(head / base) over the kept rounds."""
        base, head = self.table("passes", clock)
        return self._effect(base, head, self.kept(clock), seed)

    def waiting(self, *, seed: int = 0) -> Effect:
        """How much more head waits than base: log of the ratio of wall clock to processor time, head over base."""
        base, head = self.table("passes", WALL) / np.maximum(self.table("passes", PROCESSOR), 1e-9)
        return self._effect(base, head, self.kept(PROCESSOR), seed)

    def _effect(self, base: Floats, head: Floats, keep: Any, seed: int) -> Effect:
        effect = paired_effect(base[keep], head[keep], seed=seed)
        layout = np.searchsorted(self.layouts, np.flatnonzero(keep), side="right")
        seen = between_group_error(np.log(head[keep] / base[keep]), layout)
        error = max(effect.error, seen)
        return dataclasses.replace(effect, error=error).widened(BETWEEN_LAYOUTS / math.sqrt(max(1, len(self.layouts))))


def is_clear(samples: Samples, *, clock: int, margin: float, tests: int, seed: int = 0) -> bool:
    """Whether sampling may stop: the verdict is conclusive, corrected for all looks and `tests` comparisons."""
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
    report_progress: Callable[[Samples], None],
    seed: int,
) -> Samples:
    """Rounds of one model.

    Args:
        workers: of base and head, with the model loaded.
        load: builds the model anew on both sides; called for each further memory layout.
        tests: the number of comparisons that share alpha.
        clock: seconds, for the time limit.
        report_progress: called after each round.

    Raises:
        WorkerError: from the workers.
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
            report_progress(samples)
        if number in config.looks and is_clear(
            samples, clock=chosen, margin=config.margin, tests=tests, seed=config.seed
        ):
            break
    return samples


def _round(workers: Sequence[Worker], passes: int, cores: Sequence[int], *, number: int, seed: int) -> Round:
    """Both sides on one core, in random order: otherwise each stays on its own core, and one core is busier."""
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
    """Warm both sides up; return the seconds of the shortest pass."""
    answers = [worker.ask("run", passes=passes, core=None) for worker in workers for _ in range(runs)]
    return min(float(answer["passes"][clock]) / passes for answer in answers)
