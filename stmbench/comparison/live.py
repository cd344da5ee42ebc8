"""Two checkouts or environments compared by running both: two persistent workers that alternate round by round."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from stmbench.analyses.base import Listener, Progress
from stmbench.comparison.findings import Measured, adjudicate, confirmed, exact_count, machine_text
from stmbench.comparison.sampling import LOOKS, PROCESSOR, SIDES, WALL, LiveConfig, Samples, sample
from stmbench.comparison.worker_process import CodeVersion, Worker, WorkerError, WorkerProcess
from stmbench.errors import InputError
from stmbench.measure import environment
from stmbench.measure.effects import ALPHA, decide_verdict
from stmbench.measure.machine_watch import MachineWatch
from stmbench.tables.comparison_result import Comparison

Start = Callable[[CodeVersion], Worker]
TIME = "time per image"
WAITING = 0.1  # relative increase of wall clock over processor time, head against base, that deserves a note


class Live:
    """A live comparison; call `run` once.

    Args:
        start: starts the worker of a version.
        clock: seconds, for the time limit.
        listener: called with the progress.

    Attributes:
        samples: (attempt, model) -> its rounds; attempt 1 is the second measurement of `--confirm`.
    """

    def __init__(
        self,
        base: CodeVersion,
        head: CodeVersion,
        config: LiveConfig,
        *,
        start: Start = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
        listener: Listener | None = None,
    ) -> None:
        self.versions, self.config = (base, head), config
        self._start, self._clock, self._report_progress = start, clock, listener or (lambda _: None)
        self.samples: dict[tuple[int, str], Samples] = {}
        self._notes: list[str] = []
        self._watch = MachineWatch(config.device, own=len(SIDES))

    def run(self) -> Comparison:
        """Measure every model, and suspected regressions again if `config.confirm` is set.

        Raises:
            InputError: a worker that does not start, or no model that runs on either side.
        """
        config = self.config
        self._watch.begin()
        with WorkerPair(self.versions, config, self._start) as pair:
            pair.workers()
            machine = machine_text(environment.machine_facts(config.device))
            named = zip(SIDES, self.versions, strict=True)
            base, head = (version.described(pair.hello[side], machine) for side, version in named)
            measured = self._measure(pair, config.models, attempt=0)
        if all(item.failed == "both" for item in measured):
            raise InputError("a model that runs", measured[0].reason or "none", "change the models or their conditions")
        findings = adjudicate(measured)
        suspects = [item.model for item in findings if item.verdict == "worse" and item.metric == TIME]
        if config.confirm and suspects:
            with WorkerPair(self.versions, config, self._start) as pair:  # fresh processes: another memory layout
                again = adjudicate(self._measure(pair, suspects, attempt=1))
            findings = confirmed(findings, again)
        # the workers have exited, so that their time counts as this process's
        disturbed = [*(item.text for item in self._watch.end()), *self._watch.caveats]
        planted = [f"head was slowed down by {config.plant:.1%} on purpose (--plant)"] if config.plant else []
        notes = (*planted, *self._notes, *(f"meanwhile {text}" for text in disturbed))
        return Comparison(mode="live", base=base, head=head, findings=findings, alpha=ALPHA, notes=notes)

    def _measure(self, pair: WorkerPair, models: Sequence[str], *, attempt: int) -> list[Measured]:
        measurements = []
        for number, model in enumerate(models):
            try:
                measurements += self._model(pair, model, number, len(models), attempt)
            except LoadError as error:
                failed = "both" if len(error.reasons) == 2 else next(iter(error.reasons))
                measurements.append(self._failed(model, failed, next(iter(error.reasons.values()))))
            except WorkerError as error:
                measurements.append(self._failed(model, error.side, str(error)))
        return measurements

    def _model(self, pair: WorkerPair, model: str, number: int, tests: int, attempt: int) -> list[Measured]:
        def report_progress(samples: Samples) -> None:
            if samples.rounds:
                self._watch.sample()
            again = " again" if attempt else ""
            text = f"sampling {model}{again}, round {len(samples.rounds) + 1}"
            limit = self.config.seconds
            spent, total = number * limit + min(samples.seconds, limit), tests * limit
            self._report_progress(Progress(text=text, done=spent, total=total, seconds_left=total - spent))

        report_progress(Samples())
        answers = pair.load(model)
        sizes = [answers[side]["resolution"] for side in SIDES]
        if sizes[0] != sizes[1]:
            got = " against ".join(f"{height}x{width}" for height, width in sizes)
            return [Measured(model=model, metric=TIME, reason=f"designed for {got} px: give --resolution")]
        samples = self.samples[attempt, model] = sample(
            pair.workers(),
            lambda: pair.load(model),
            self.config,
            tests=tests,
            clock=self._clock,
            report_progress=report_progress,
            seed=self.config.seed + attempt,
        )
        conditions = f"{self.config.conditions}, {'x'.join(map(str, dict.fromkeys(sizes[0])))} px"
        measurements = [self._timed(model, samples, conditions)]
        params = [answers[side]["params"] for side in SIDES]
        if params[0] != params[1]:
            measurements.append(exact_count(model, "params", *params, unit="count", conditions=conditions))
        return measurements

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
                    f"{model}: by the wall clock head takes a further {factor:.2f} times as long: it waits"
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
        reason = f"at {'base and head' if failed == 'both' else failed}: {reason}"
        return Measured(model=model, metric=TIME, conditions=self.config.conditions, failed=failed, reason=reason)


class LoadError(Exception):
    """A model that cannot be built or run; `reasons` by side."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


class _SideWorker:
    """A worker whose errors name its side."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name, self._worker = name, worker
        self.is_alive = True

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        try:
            return self._worker.ask(do, **request)
        except WorkerError as error:
            error.side = self.name
            self.is_alive = self.is_alive and not error.died
            raise

    def close(self) -> None:
        self._worker.close()


class WorkerPair:
    """The workers of base and head: started when needed, restarted if one died, killed when the context ends.

    Raises:
        InputError: from `workers()`, if a worker does not start.
    """

    def __init__(self, versions: Sequence[CodeVersion], config: LiveConfig, start: Start) -> None:
        self._versions, self._config, self._start = dict(zip(SIDES, versions, strict=True)), config, start
        self._running: dict[str, _SideWorker] = {}
        self.hello: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> WorkerPair:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill both."""
        for worker in self._running.values():
            worker.close()
        self._running.clear()

    def workers(self) -> list[_SideWorker]:
        """Both workers, running."""
        for name, version in self._versions.items():
            old = self._running.get(name)
            if old is not None and old.is_alive:
                continue
            if old is not None:
                old.close()
            try:
                worker = self._running[name] = _SideWorker(name, self._start(version))
                plugins = [str(path) for path in version.plugins]
                slowdown = self._config.plant if name == "head" else 0.0
                self.hello[name] = worker.ask("hello", threads=self._config.threads, plugins=plugins, slowdown=slowdown)
            except WorkerError as error:
                raise InputError(
                    f"{name} ({version.label}) to start", str(error), "install stmbench and torch there"
                ) from error
        return [self._running[name] for name in SIDES]

    def load(self, model: str) -> dict[str, dict[str, Any]]:
        """Build a model on both sides; returns side -> its parameters and resolution. Raises LoadError."""
        config, answers, reasons = self._config, dict[str, dict[str, Any]](), dict[str, str]()
        for worker in self.workers():
            try:
                worker.ask("unload")
                answers[worker.name] = worker.ask(
                    "load",
                    model=model,
                    seed=config.seed,
                    device=config.device,
                    dtype=config.dtype,
                    batch=config.batch_size,
                    resolution=config.resolution,
                )
            except WorkerError as error:
                reasons[worker.name] = str(error)
        if reasons:
            raise LoadError(reasons)
        return answers
