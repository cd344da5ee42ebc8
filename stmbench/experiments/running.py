"""Running a plan: every task as soon as what it needs is done and there is room for it."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from stmbench.analyses.models import facts_of
from stmbench.experiments.engines import Done, Engine, TaskFailed, TaskProgress
from stmbench.experiments.ready_queue import ReadyQueue
from stmbench.experiments.tasks import Task, TaskResult
from stmbench.tables import Row, Store
from stmbench.tables.store import unit_key

TELL_EVERY_S = 0.1


@dataclasses.dataclass(kw_only=True)
class RunReport:
    """What a run did."""

    results: list[TaskResult] = dataclasses.field(default_factory=list)
    lost: dict[str, str] = dataclasses.field(default_factory=dict)  # task -> reason
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)  # of the skipped: for lack of time

    @property
    def made(self) -> set[str]:
        """Keys of the units of work that this run measured."""
        return {key for result in self.results for key in result.made}

    @property
    def reused(self) -> set[str]:
        """Keys of those that the store had before this run: what one task measured and another took is not among."""
        return {key for result in self.results for key in result.reused} - self.made

    @property
    def failures(self) -> list[str]:
        """Lines on everything that did not work."""
        within = [f"{result.name}: {line}" for result in self.results for line in result.failures]
        return [*within, *(f"{name}: {reason}" for name, reason in self.lost.items())]

    @property
    def warnings(self) -> list[str]:
        """Each warning once."""
        return list(dict.fromkeys(line for result in self.results for line in result.warnings))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Where a run stands, for its one progress display."""

    done: int
    total: int
    running: Mapping[str, str]  # task -> what it does now
    seconds_left: float | None


class Run:
    """Does tasks with an engine.

    Args:
        estimates: seconds by task, corrected during the run by how long tasks really took.
        done: tasks that the store has all of, as far as is known.
        deadline: of the monotonic clock; a task that would not end before it is left out.
        tell: hears where the run stands.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        engine: Engine,
        folder: Path,
        *,
        estimates: Mapping[str, float | None],
        tell: Callable[[RunStatus], None],
        done: Container[str] = (),
        deadline: float | None = None,
    ) -> None:
        self._deadline = deadline
        self._tasks = {task.name: task for task in tasks}
        self._engine, self._store, self._estimates, self._tell = engine, Store(folder), estimates, tell
        # answered here, one at a time beside what runs elsewhere: no node waits until all of them are
        self._kept = {task.name for task in tasks if task.name in done and engine.answers(task)}
        self._queue = ReadyQueue(tasks, self._kept)
        # nanoseconds of what waits, alone or not: whole numbers stay exact, whatever is added and taken away
        self._waiting = {True: 0, False: 0}
        for task in tasks:
            self._waiting[task.alone] += 0 if task.missing else self._cost(task)
        self._timed = any(estimates.values())
        self._running: dict[str, str] = {}
        self._alone: str | None = None  # the running task beside which nothing may run
        self._shares: dict[str, float] = {}
        self._ended: set[str] = set()
        self._spent, self._expected = 0.0, 0.0
        self._began: dict[str, float] = {}
        self._told, self._unsaid = -math.inf, False
        self.report = RunReport()

    def run(self) -> RunReport:
        """Do everything that can be done; what cannot is a row with its reason, and stops nothing else."""
        for task in self._tasks.values():
            if task.missing is not None:
                self._skip(task, f"missing: {task.missing}")
        while self._queue or self._running:
            self._start()
            if not self._running:
                continue
            for event in self._engine.wait():
                self._take(event)
            self.say()
        if self._unsaid:
            self.say(at_once=True)
        return self.report

    def hear(self, event: TaskProgress) -> None:
        """Progress of a task that runs in this process."""
        self._take(event)
        self.say()

    def say(self, *, at_once: bool = False) -> None:
        """Tell where the run stands, but no more than a few times a second unless it has to be `at_once`."""
        now = time.monotonic()
        self._unsaid = not at_once and now - self._told < TELL_EVERY_S
        if self._unsaid:
            return
        self._told = now
        done, total = len(self._ended), len(self._tasks)
        self._tell(RunStatus(done=done, total=total, running=dict(self._running), seconds_left=self._left()))

    def _start(self) -> None:
        while (task := self._next()) is not None:
            self._waiting[task.alone] -= self._cost(task)
            if self._too_late(task):
                self._skip(
                    task, "left out: the budget of time does not reach; give more to do it", self.report.left_out
                )
                continue
            self._running[task.name] = task.name
            self._alone = task.name if task.alone else None
            self._began[task.name] = time.monotonic()
            self._engine.submit(task)
            self.say()

    def _next(self) -> Task | None:
        """The first task that can begin now."""
        if self._alone is not None:
            return None
        answered = len(self._kept & self._running.keys()) if self._kept else 0
        elsewhere = len(self._running) - answered
        task = None
        if not elsewhere or elsewhere < self._engine.slots + self._engine.ahead:
            task = self._queue.pop(alone=not elsewhere)
        return task or (None if answered else self._queue.pop_kept())

    def _too_late(self, task: Task) -> bool:
        """Whether a task would end after the deadline, by its estimate and by how estimates held so far."""
        if self._deadline is None or self._estimates.get(task.name) is None:
            return False  # without an estimate it is done already, or comes to nothing
        seconds = (self._estimates[task.name] or 0.0) * max(1.0, self._factor)
        return time.monotonic() + seconds > self._deadline

    @property
    def _factor(self) -> float:
        """How much longer tasks took than was estimated."""
        return self._spent / self._expected if self._expected > 0 else 1.0

    def _take(self, event: TaskProgress | Done | TaskFailed) -> None:
        if isinstance(event, TaskProgress):
            self._running[event.name] = event.text
            if event.share is not None:
                self._shares[event.name] = min(1.0, event.share)
            return
        name = event.result.name if isinstance(event, Done) else event.name
        self._running.pop(name, None)
        self._shares.pop(name, None)
        self._alone = None if self._alone == name else self._alone
        self._ended.add(name)
        if isinstance(event, TaskFailed):
            self.report.lost[name] = event.reason
            self._write_row(self._tasks[name], "failed", event.reason)
            self._lose(name, self.report.skipped)
            return
        self.report.results.append(event.result)
        if (key := _reason_key(self._tasks[name])) in self._reasons:
            self._store.remove(key)  # which lists the whole folder
            self._reasons.discard(key)
        if event.result.measured:
            self._spent += time.monotonic() - self._began[name]
            self._expected += self._estimates.get(name) or 0.0
        if self._tasks[name].step is None and event.result.failures:
            self._lose(name, self.report.skipped)  # nobody can use its weights
        else:
            self._queue.meet(name)

    @functools.cached_property
    def _reasons(self) -> set[str]:
        """Keys of the parts that the store has, where those that say why a task was not done are looked for."""
        return set(self._store.names())

    def _cost(self, task: Task) -> int:
        return round((self._estimates.get(task.name) or 0.0) * 1e9)

    def _left(self) -> float | None:
        """Seconds, from the estimates, scaled by how they held so far."""
        if not self._timed:
            return None
        rest = dict(self._waiting)
        for name in self._running:
            rest[self._tasks[name].alone] += round(self._cost(self._tasks[name]) * (1 - self._shares.get(name, 0.0)))
        return (rest[True] + rest[False] / self._engine.slots) / 1e9 * self._factor

    def _skip(self, task: Task, reason: str, where: dict[str, str] | None = None) -> None:
        """Leave a task out, and what needs it; `where` the report says so, else among the skipped."""
        where = self.report.skipped if where is None else where
        self._ended.add(task.name)
        where[task.name] = reason
        self._write_row(task, "skipped", reason)
        self._lose(task.name, where)

    def _lose(self, name: str, where: dict[str, str]) -> None:
        for task in self._queue.lose(name):
            self._waiting[task.alone] -= self._cost(task)
            self._skip(task, f"needs {name!r}, which was not done", where)

    def _write_row(self, task: Task, status: str, reason: str) -> None:
        """One part that says why, in place of an older one."""
        now = datetime.datetime.now(datetime.timezone.utc)
        rows = []
        for model in task.models:
            facts = facts_of(model)
            rows.append(
                Row(
                    run_id=f"{now:%Y%m%dT%H%M%S}-task",
                    created_utc=now,
                    kind="summary",
                    analysis=task.title,
                    definition=f"{task.title}.task",
                    model=model,
                    architecture=facts.architecture,
                    mixer=facts.mixer,
                    scale=facts.scale,
                    seed=task.seed,
                    status=status,
                    reason=reason,
                )
            )
        key = _reason_key(task)
        self._reasons.add(key)
        self._store.write(key, rows, metadata={"status": status, "task": task.name, "disturbances": []})


def _reason_key(task: Task) -> str:
    """The key of the part that says why a task was not done."""
    return unit_key({"task": task.name, "not done": True})
