"""Running a plan: every task as soon as what it needs is done and there is room for it."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stmbench.analyses.models import facts_of
from stmbench.experiments.engines import Done, Engine, TaskFailed, TaskProgress
from stmbench.experiments.tasks import Task, TaskResult
from stmbench.tables import Row, Store
from stmbench.tables.store import unit_key


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
        deadline: float | None = None,
    ) -> None:
        self._deadline = deadline
        self._tasks = {task.name: task for task in tasks}
        self._engine, self._folder, self._estimates, self._tell = engine, folder, estimates, tell
        self._waiting = [task for task in tasks if task.missing is None]
        self._running: dict[str, str] = {}
        self._shares: dict[str, float] = {}
        self._ended: set[str] = set()
        self._undone: set[str] = set()  # of the ended: failed or skipped
        self._spent, self._expected = 0.0, 0.0
        self._began: dict[str, float] = {}
        self.report = RunReport()

    def run(self) -> RunReport:
        """Do everything that can be done; what cannot is a row with its reason, and stops nothing else."""
        for task in self._tasks.values():
            if task.missing is not None:
                self._skip(task, f"missing: {task.missing}")
        while self._waiting or self._running:
            self._start()
            if not self._running:
                continue
            for event in self._engine.wait():
                self._take(event)
            self.say()
        return self.report

    def hear(self, event: TaskProgress) -> None:
        """Progress of a task that runs in this process."""
        self._take(event)
        self.say()

    def say(self) -> None:
        """Tell where the run stands."""
        done = len(self._ended)
        self._tell(RunStatus(done=done, total=len(self._tasks), running=dict(self._running), seconds_left=self._left()))

    def _start(self) -> None:
        for task in list(self._waiting):
            failed = next((name for name in task.needs if name in self._undone), None)
            if failed is not None:
                self._waiting.remove(task)
                self._skip(task, f"needs {failed!r}, which was not done")
                if failed in self.report.left_out:
                    self.report.left_out[task.name] = self.report.skipped.pop(task.name)
                continue
            if any(name in self._tasks and name not in self._ended for name in task.needs):
                continue
            if self._too_late(task):
                self._waiting.remove(task)
                self._skip(task, "left out: the budget of time does not reach; give more to do it")
                self.report.left_out[task.name] = self.report.skipped.pop(task.name)
                continue
            if len(self._running) >= (1 if task.alone or self._alone() else self._engine.slots):
                continue
            self._waiting.remove(task)
            self._running[task.name] = task.name
            self._began[task.name] = time.monotonic()
            self._engine.submit(task)
            self.say()

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

    def _alone(self) -> bool:
        return any(self._tasks[name].alone for name in self._running)

    def _take(self, event: TaskProgress | Done | TaskFailed) -> None:
        if isinstance(event, TaskProgress):
            self._running[event.name] = event.text
            if event.share is not None:
                self._shares[event.name] = min(1.0, event.share)
            return
        name = event.result.name if isinstance(event, Done) else event.name
        self._running.pop(name, None)
        self._ended.add(name)
        if isinstance(event, TaskFailed):
            self.report.lost[name] = event.reason
            self._undone.add(name)
            self._write_row(self._tasks[name], "failed", event.reason)
            return
        self.report.results.append(event.result)
        Store(self._folder).remove(_reason_key(self._tasks[name]))
        if self._tasks[name].step is None and event.result.failures:
            self._undone.add(name)  # nobody can use its weights
        if event.result.measured:
            self._spent += time.monotonic() - self._began[name]
            self._expected += self._estimates.get(name) or 0.0

    def _left(self) -> float | None:
        """Seconds, from the estimates, scaled by how they held so far."""
        if not any(self._estimates.values()):
            return None
        seconds = 0.0
        for task in [*self._waiting, *(self._tasks[name] for name in self._running)]:
            share = 1 if task.alone else 1 / self._engine.slots
            rest = 1 - self._shares.get(task.name, 0.0) if task.name in self._running else 1.0
            seconds += (self._estimates.get(task.name) or 0.0) * share * rest
        return seconds * self._factor

    def _skip(self, task: Task, reason: str) -> None:
        self._ended.add(task.name)
        self.report.skipped[task.name] = reason
        self._undone.add(task.name)
        self._write_row(task, "skipped", reason)

    def _write_row(self, task: Task, status: str, reason: str) -> None:
        """One part that says why, in place of an older one."""
        store = Store(self._folder).require_writable()
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
        store.write(_reason_key(task), rows, metadata={"status": status, "task": task.name, "disturbances": []})


def _reason_key(task: Task) -> str:
    """The key of the part that says why a task was not done."""
    return unit_key({"task": task.name, "not done": True})
