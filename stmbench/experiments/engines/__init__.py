"""Where tasks are done: tasks go in, events come out. All engines fill the same store.

Here are the contract and the engine of this process; the others are modules of their own:

processes    several processes on this machine
ray          a Ray cluster
sent_files   what goes to its nodes with a task
ray_worker   what a node does with it
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from stmbench.analyses.base import Progress
from stmbench.errors import reason_of
from stmbench.experiments.tasks import Task, TaskResult, execute

ATTEMPTS = 3  # at a task whose worker died


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskProgress:
    """A task went on: `share` of it is done, where it knows."""

    name: str
    text: str
    share: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """A task ended."""

    result: TaskResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskFailed:
    """A task could not be done, for `reason`: it was refused, or its worker died again and again."""

    name: str
    reason: str


Event = TaskProgress | Done | TaskFailed


class Engine(abc.ABC):
    """Does tasks. Use it as a context manager: leaving stops what still runs."""

    name: ClassVar[str]
    slots: int = 1  # tasks at a time; may change meanwhile
    ahead: int = 0  # tasks more that it takes, to begin them without delay

    def answers(self, task: Task) -> bool:
        """Whether this process answers the task, if the store has all of it, while others run elsewhere."""
        return False

    @abc.abstractmethod
    def submit(self, task: Task) -> None:
        """Begin a task, or queue it; the caller keeps to `slots`, and to one where the task is to run alone."""

    @abc.abstractmethod
    def wait(self) -> list[Event]:
        """What happened since the last call; blocks until something did."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop everything; what the store has, it has."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalEngine(Engine):
    """Does a task when it is waited for; `tell` hears of its progress meanwhile."""

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path, tell: Callable[[TaskProgress], None]) -> None:
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
            return [TaskFailed(name=task.name, reason=reason_of(error))]

    def close(self) -> None:
        self._task.clear()


def moved(name: str, progress: Progress) -> TaskProgress:
    """The event of an analysis's progress."""
    share = progress.done / progress.total if progress.total else None
    return TaskProgress(name=name, text=progress.text, share=share)
