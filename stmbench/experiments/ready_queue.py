"""Tasks that wait to be run: those that can begin, in the plan's order, and those that need others first."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable

from stmbench.experiments.tasks import Task


class ReadyQueue:
    """Whatever happens to a task takes the time of the tasks that need it, however many others wait.

    A need that is none of the tasks counts as met; a task that lacks something never waits.

    Args:
        kept: names of tasks that `pop_kept` alone gives.
    """

    def __init__(self, tasks: Iterable[Task], kept: Container[str] = ()) -> None:
        named = {task.name: task for task in tasks}
        self._waiting = {name: task for name, task in named.items() if task.missing is None}
        self._place = {name: place for place, name in enumerate(self._waiting)}
        self._needed_by: dict[str, list[str]] = {}
        self._unmet: dict[str, int] = {}
        self._ready: dict[bool, list[int]] = {True: [], False: []}  # of tasks that run alone, of the others: places
        self._kept, self._ready_kept = kept, list[int]()
        self._names = list(self._waiting)
        for name, task in self._waiting.items():
            needs = [need for need in dict.fromkeys(task.needs) if need in named]
            self._unmet[name] = len(needs)
            for need in needs:
                self._needed_by.setdefault(need, []).append(name)
            if not needs:
                self._add(name)

    def __len__(self) -> int:
        return len(self._waiting)

    def pop(self, *, alone: bool) -> Task | None:
        """The first task that can begin, among them those that run `alone` or not; None where there is none."""
        ready = [self._ready[kind] for kind in ((True, False) if alone else (False,)) if self._ready[kind]]
        if not ready:
            return None
        return self._waiting.pop(self._names[heapq.heappop(min(ready, key=lambda heap: heap[0]))])

    def pop_kept(self) -> Task | None:
        """The first of the kept tasks that can begin; None where there is none."""
        return self._waiting.pop(self._names[heapq.heappop(self._ready_kept)]) if self._ready_kept else None

    def meet(self, name: str) -> None:
        """A task was done: what needed nothing else can begin."""
        for other in self._needed_by.pop(name, ()):
            if other in self._waiting:
                self._unmet[other] -= 1
                if not self._unmet[other]:
                    self._add(other)

    def lose(self, name: str) -> list[Task]:
        """A task was not done: those that need it, which wait no longer."""
        names = [other for other in self._needed_by.pop(name, ()) if other in self._waiting]
        return [self._waiting.pop(other) for other in names]

    def _add(self, name: str) -> None:
        ready = self._ready_kept if name in self._kept else self._ready[self._waiting[name].alone]
        heapq.heappush(ready, self._place[name])
