"""An engine that does nothing: what becomes of each task is in a script, and what it was asked for is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from stmbench.experiments.engines import Done, Engine, Event, TaskFailed, TaskProgress
from stmbench.experiments.tasks import Task, TaskResult


def result(
    name: str, *, made: tuple[str, ...] = ("key",), reused: tuple[str, ...] = (), failures: tuple[str, ...] = ()
) -> TaskResult:
    """Of a task that was done."""
    return TaskResult(name=name, made=made, reused=reused, failures=failures, warnings=("noise",), keys=(), seconds=1.0)


class ScriptedEngine(Engine):
    """Ends the task that was begun first, as `ends` says: a reason for losing it, failures, or nothing bad.

    `together`: the tasks that were under way at each wait.
    """

    name: ClassVar[str] = "scripted"

    def __init__(
        self,
        slots: int = 1,
        ends: Mapping[str, str | tuple[str, ...]] | None = None,
        *,
        moves: Callable[[str], list[TaskProgress]] = lambda _: [],
    ) -> None:
        self.slots, self._ends, self._moves = slots, ends or {}, moves
        self._now: list[Task] = []
        self.together: list[list[str]] = []
        self.order: list[str] = []
        self.closed = False

    def submit(self, task: Task) -> None:
        self._now.append(task)
        self.order.append(task.name)

    def wait(self) -> list[Event]:
        self.together.append([task.name for task in self._now])
        name = self._now.pop(0).name
        end = self._ends.get(name, ())
        last = TaskFailed(name=name, reason=end) if isinstance(end, str) else Done(result=result(name, failures=end))
        return [*self._moves(name), last]

    def close(self) -> None:
        self.closed = True
