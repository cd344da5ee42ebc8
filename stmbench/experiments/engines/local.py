"""Tasks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from stmbench.analyses.base import Progress
from stmbench.analyses.failures import reason_of
from stmbench.experiments.engines.base import Done, Engine, Event, Lost, Moved
from stmbench.experiments.execution import execute
from stmbench.experiments.tasks import Task


class LocalEngine(Engine):
    """Does a task when it is waited for; `tell` hears of its progress meanwhile."""

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path, tell: Callable[[Moved], None]) -> None:
        self._folder, self._tell, self._task = folder, tell, list[Task]()

    def submit(self, task: Task) -> None:
        self._task.append(task)

    def wait(self) -> list[Event]:
        task = self._task.pop(0)

        def listener(progress: Progress) -> None:
            self._tell(moved(task.name, progress))

        try:
            return [Done(result=execute(task, self._folder, listener=listener))]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return [Lost(name=task.name, reason=reason_of(error))]

    def close(self) -> None:
        self._task.clear()


def moved(name: str, progress: Progress) -> Moved:
    """The event of an analysis's progress."""
    share = progress.done / progress.total if progress.total else None
    return Moved(name=name, text=progress.text, share=share)
