"""Two checkouts or environments compared by running both: two persistent workers that alternate round by round."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from stmbench.analyses.base import Listener, Progress
from stmbench.comparison.code_versions import Side
from stmbench.comparison.config import LOOKS, LiveConfig
from stmbench.comparison.findings import Measured, settle
from stmbench.comparison.process import Process, Worker, WorkerError
from stmbench.comparison.sampling import PROCESSOR, SIDES, WALL, Samples, sample
from stmbench.comparison.stored import COST_MARGIN, machine_words
from stmbench.comparison.worker_pair import LoadError, Pair
from stmbench.errors import InputError
from stmbench.measure import environment
from stmbench.measure.machine_watch import MachineWatch
from stmbench.measure.verdicts import ALPHA, Effect, decide_verdict
from stmbench.tables.comparison_result import VERDICTS, Comparison, Finding

Start = Callable[[Side], Worker]
TIME = "time per image"
WAITING = 0.1  # more of the wall clock than of the processor, at head beside base, is worth a note


class Live:
    """A live comparison; `run` does it once.

    Args:
        start: starts a side's worker.
        clock: seconds, for the time limit.
        listener: told where it stands.

    Attributes:
        samples: (attempt, model) -> its rounds; attempt 1 is that of `--confirm`.
    """

    def __init__(
        self,
        base: Side,
        head: Side,
        config: LiveConfig,
        *,
        start: Start = Process,
        clock: Callable[[], float] = time.monotonic,
        listener: Listener | None = None,
    ) -> None:
        self.sides, self.config = (base, head), config
        self._start, self._clock, self._tell = start, clock, listener or (lambda _: None)
        self.samples: dict[tuple[int, str], Samples] = {}
        self._notes: list[str] = []
        self._watch = MachineWatch(config.device, own=len(SIDES))

    def run(self) -> Comparison:
        """Measure every model, and the suspects again if that was asked for.

        Raises:
            InputError: a side that does not start, or no model that runs on either.
        """
        config = self.config
        self._watch.begin()
        with Pair(self.sides, config, self._start) as pair:
            pair.workers()
            machine = machine_words(environment.machine_facts(config.device))
            named = zip(SIDES, self.sides, strict=True)
            base, head = (side.version(pair.hello[name], machine) for name, side in named)
            measured = self._measure(pair, config.models, attempt=0)
        if all(item.failed == "both" for item in measured):
            raise InputError("a model that runs", measured[0].reason or "none", "change the models or their conditions")
        findings = settle(measured)
        suspects = [item.model for item in findings if item.verdict == "worse" and item.metric == TIME]
        if config.confirm and suspects:
            with Pair(self.sides, config, self._start) as pair:  # fresh processes: chance laid their memory out
                again = settle(self._measure(pair, suspects, attempt=1))
            findings = confirmed(findings, again)
        # the workers have ended by now, so that their time counts as ours
        disturbed = [*(item.text for item in self._watch.end()), *self._watch.caveats]
        planted = [f"head was slowed down by {config.plant:.1%} on purpose (--plant)"] if config.plant else []
        notes = (*planted, *self._notes, *(f"meanwhile {text}" for text in disturbed))
        return Comparison(mode="live", base=base, head=head, findings=findings, alpha=ALPHA, notes=notes)

    def _measure(self, pair: Pair, models: Sequence[str], *, attempt: int) -> list[Measured]:
        found = []
        for number, model in enumerate(models):
            try:
                found += self._model(pair, model, number, len(models), attempt)
            except LoadError as error:
                failed = "both" if len(error.reasons) == 2 else next(iter(error.reasons))
                found.append(self._failed(model, failed, next(iter(error.reasons.values()))))
            except WorkerError as error:
                found.append(self._failed(model, error.side, str(error)))
        return found

    def _model(self, pair: Pair, model: str, number: int, tests: int, attempt: int) -> list[Measured]:
        def tell(samples: Samples) -> None:
            if samples.rounds:
                self._watch.sample()
            again = " again" if attempt else ""
            text = f"sampling {model}{again}, round {len(samples.rounds) + 1}"
            limit = self.config.seconds
            spent = number * limit + min(samples.seconds, limit)
            self._tell(Progress(text=text, done=spent, total=tests * limit, seconds_left=tests * limit - spent))

        tell(Samples())
        answers = pair.load(model)
        sides = [answers[side]["resolution"] for side in SIDES]
        if sides[0] != sides[1]:
            got = " against ".join(f"{height}x{width}" for height, width in sides)
            return [Measured(model=model, metric=TIME, reason=f"designed for {got} px: give --resolution")]
        samples = self.samples[attempt, model] = sample(
            pair.workers(),
            lambda: pair.load(model),
            self.config,
            tests=tests,
            clock=self._clock,
            tell=tell,
            seed=self.config.seed + attempt,
        )
        conditions = f"{self.config.conditions}, {'x'.join(map(str, dict.fromkeys(sides[0])))} px"
        found = [self._timed(model, samples, conditions)]
        params = [answers[side]["params"] for side in SIDES]
        if params[0] != params[1]:
            found.append(counted(model, params[0], params[1], conditions))
        return found

    def _timed(self, model: str, samples: Samples, conditions: str) -> Measured:
        config = self.config
        clock = PROCESSOR if config.chosen_clock == "processor" else WALL
        keep = samples.kept(clock)
        images = samples.passes * config.batch_size
        base, head = (float(np.median(values[keep])) / images for values in samples.table("passes", clock))
        if clock == PROCESSOR:
            waiting = samples.waiting(seed=config.seed)
            if decide_verdict(waiting, waiting.p_value, margin=math.log1p(WAITING)) in ("worse", "better"):
                factor = math.exp(waiting.estimate)
                self._notes.append(
                    f"{model}: by the wall clock head takes another {factor:.2f} times as long: it waits"
                )
        return Measured(
            model=model,
            metric=TIME,
            conditions=f"{conditions}, {config.chosen_clock} time",
            unit="s",
            base=base,
            head=head,
            effect=samples.effect(clock, seed=config.seed),
            margin=config.margin,
            looks=len(LOOKS),
            rounds=int(keep.sum()),
            dropped=int((~keep).sum()),
            seconds=samples.seconds,
        )

    def _failed(self, model: str, failed: str, reason: str) -> Measured:
        where = "at base and head" if failed == "both" else f"at {failed}"
        conditions = self.config.conditions
        return Measured(model=model, metric=TIME, conditions=conditions, failed=failed, reason=f"{where}: {reason}")


def counted(model: str, base: int, head: int, conditions: str) -> Measured:
    """Parameters of base and head, which are told where they differ."""
    effect = Effect(estimate=math.log(head / base), error=0.0, count=1) if base and head else None
    return Measured(
        model=model,
        metric="params",
        unit="count",
        conditions=conditions,
        base=base,
        head=head,
        effect=effect,
        margin=COST_MARGIN,
        reason=None if effect else "nothing to take a ratio of",
    )


def confirmed(findings: Sequence[Finding], again: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings after the suspects were measured again: worse is what was worse both times.

    A confirmed one has the figures of its second measurement, which was not chosen for being large.
    """
    second = {(item.model, item.metric): item for item in again}
    found = []
    for first in findings:
        other = second.get((first.model, first.metric))
        if other is None or first.verdict != "worse":
            found.append(first)
        elif other.verdict == "worse":
            found.append(dataclasses.replace(other, confirmed=True))
        elif other.verdict == "failed":
            found.append(other)
        else:
            reason = f"{first.effect:.3f} at first and {other.effect or math.nan:.3f} when measured again"
            found.append(dataclasses.replace(other, verdict="inconclusive", confirmed=False, reason=reason))
    return tuple(sorted(found, key=lambda item: VERDICTS.index(item.verdict)))
