"""Tasks in several processes of this machine. A process that dies is replaced, and its task done again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar

from stmbench.analyses.base import Progress
from stmbench.errors import reason_of
from stmbench.experiments.engines import ATTEMPTS, Done, Engine, Event, TaskFailed, moved
from stmbench.experiments.tasks import Task

TELL_EVERY_S = 0.3
STOP_S = 5.0


class ProcessEngine(Engine):
    """`workers` processes, each with its share of the machine's threads; a task that is to run alone has all of them.

    Workers are started when they are needed, anew and not by forking: a forked torch would inherit locks.
    """

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path, workers: int) -> None:
        self.slots, self._folder = workers, folder
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[_Worker] = []
        self._busy: dict[str, tuple[_Worker, Task, int]] = {}

    def submit(self, task: Task) -> None:
        self._start(task, attempt=1)

    def wait(self) -> list[Event]:
        events: list[Event] = []
        while not events:
            handles: dict[Any, str] = {}
            for name, (worker, _, _) in self._busy.items():
                handles[worker.pipe] = name
                handles[worker.process.sentinel] = name
            for name in {handles[handle] for handle in wait(list(handles))}:
                events += self._hear(name)
        return events

    def close(self) -> None:
        for worker in [*self._idle, *(worker for worker, _, _ in self._busy.values())]:
            worker.stop()
        self._idle, self._busy = [], {}

    def _start(self, task: Task, attempt: int) -> None:
        worker = self._ready()
        cores = os.cpu_count() or 1
        with contextlib.suppress(OSError):  # one that has just died is found out by `wait`, like any other
            worker.pipe.send((task, cores if task.alone else max(1, cores // self.slots)))
        self._busy[task.name] = worker, task, attempt

    def _ready(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.stop()
        return _Worker(self._context, self._folder)

    def _hear(self, name: str) -> list[Event]:
        worker, task, attempt = self._busy[name]
        events: list[Event] = []
        try:
            while worker.pipe.poll():
                event = worker.pipe.recv()
                events.append(event)
                if isinstance(event, Done | TaskFailed):
                    del self._busy[name]
                    self._idle.append(worker)
                    return events
        except (EOFError, OSError):
            pass
        else:
            if worker.process.is_alive():
                return events
        del self._busy[name]
        worker.stop()
        if attempt < ATTEMPTS:
            self._start(task, attempt + 1)
            return events
        code = worker.process.exitcode
        return [*events, TaskFailed(name=name, reason=f"its process died {ATTEMPTS} times, the last time with {code}")]


class _Worker:
    def __init__(self, context: Any, folder: Path) -> None:
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, folder), daemon=True)
        with _one_thread(), _no_interrupts():
            self.process.start()
        theirs.close()

    def stop(self) -> None:
        self.process.terminate()
        self.pipe.close()
        self.process.join(STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Children begin with one thread each: libraries size their pools when they are imported."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; children begin deaf to it, as their parent stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """A parent that was killed stops nobody: nobody may go on in its store, where it may have been started again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(pipe: Connection, folder: Path) -> None:
    """A worker's life: tasks from the pipe, events back, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from stmbench.experiments.tasks import execute

    while True:
        try:
            task, threads = pipe.recv()
        except EOFError:
            return
        torch.set_num_threads(threads)
        told = [0.0]

        def listener(progress: Progress, name: str = task.name, told: list[float] = told) -> None:
            if time.monotonic() - told[0] >= TELL_EVERY_S:
                told[0] = time.monotonic()
                _send(pipe, moved(name, progress))

        event: Event
        try:
            event = Done(result=execute(task, folder, listener=listener))
        except BaseException as error:  # it is deaf to Ctrl-C
            event = TaskFailed(name=task.name, reason=reason_of(error))
        _send(pipe, event)


def _send(pipe: Connection, event: Event) -> None:
    """To the parent; where it is gone there is nobody to work for, and no unit of work that failed."""
    try:
        pipe.send(event)
    except OSError:
        os._exit(1)
