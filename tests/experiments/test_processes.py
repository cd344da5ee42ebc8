"""Tasks in real processes of this machine: done side by side, replaced when they die, gone when the run is over."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stmbench.experiments.engines import Done, Event, TaskFailed, TaskProgress
from stmbench.experiments.engines.processes import ProcessEngine
from stmbench.experiments.running import Run
from stmbench.experiments.tasks import Task
from stmbench.tables import read
from tests.experiments.files import HEAD, MODELS, TINY
from tests.experiments.plans import planned
from tests.experiments.plugins import killer, noted

COSTS = f"{HEAD}analyses: [{{analysis: profile, timing: false}}]\n"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ProcessEngine]:
    with ProcessEngine(tmp_path / "store", workers=2) as made:
        yield made


def ended(engine: ProcessEngine) -> Done | TaskFailed:
    """The next end of a task."""
    while True:
        events: list[Event] = engine.wait()
        ends = [event for event in events if not isinstance(event, TaskProgress)]
        if ends:
            (end,) = ends
            return end


def costs(folder: Path, **changes: object) -> Task:
    (task,) = planned(folder, COSTS)
    return dataclasses.replace(task, **changes)  # type: ignore[arg-type]


def test_two_workers_do_a_tiny_experiment(tmp_path: Path, engine: ProcessEngine) -> None:
    tasks = planned(tmp_path, TINY)
    report = Run(tasks, engine, tmp_path / "store", estimates={}, tell=lambda _: None).run()
    assert not report.failures
    assert not report.skipped
    assert {result.name for result in report.results} == {task.name for task in tasks}
    frame = read(tmp_path / "store")
    assert set(frame["analysis"]) == {"train", "eval", "erf"}
    assert set(frame["status"]) == {"ok"}
    pids = {worker.process.pid for worker in engine._idle}
    assert len(pids) == 2, "both were used, and neither was started twice"
    assert os.getpid() not in pids


def test_a_worker_that_is_killed_is_replaced_and_its_task_done(tmp_path: Path, engine: ProcessEngine) -> None:
    engine.submit(costs(tmp_path, plugins=(str(killer(tmp_path, 1)),)))
    end = ended(engine)
    assert isinstance(end, Done)
    assert (end.result.measured, end.result.failures) == (2, ())
    assert len(noted(tmp_path)) == 2, "one was killed, another did it"
    # one that dies between two tasks is replaced as well
    (worker,) = engine._idle
    assert worker.process.pid is not None
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.join()
    engine.submit(costs(tmp_path, models=MODELS[:1]))
    again = ended(engine)
    assert isinstance(again, Done)
    assert (again.result.measured, again.result.kept) == (0, 1)


def test_a_task_that_kills_three_workers_is_lost_and_the_others_go_on(tmp_path: Path, engine: ProcessEngine) -> None:
    tasks = [costs(tmp_path, name="fatal", plugins=(str(killer(tmp_path, 99)),)), costs(tmp_path, name="harmless")]
    report = Run(tasks, engine, tmp_path / "store", estimates={}, tell=lambda _: None).run()
    assert report.lost == {"fatal": "its process died 3 times, the last time with -9"}
    assert [result.name for result in report.results] == ["harmless"]
    assert len(noted(tmp_path)) == 3
    frame = read(tmp_path / "store")
    (row, *_) = frame[frame["status"] == "failed"].to_dict("records")
    assert row["reason"] == report.lost["fatal"]
    assert "macs" in set(frame[frame["status"] == "ok"]["metric"])


def test_what_a_task_is_refused_for_is_its_reason(tmp_path: Path, engine: ProcessEngine) -> None:
    engine.submit(costs(tmp_path, plugins=("/no/where/mixer.py",)))
    end = ended(engine)
    assert isinstance(end, TaskFailed)
    assert end.reason.startswith("expected a Python file, got mixer.py")


def test_leaving_stops_the_workers(tmp_path: Path) -> None:
    with ProcessEngine(tmp_path / "store", workers=1) as engine:
        engine.submit(costs(tmp_path))
        (pid,) = [worker.process.pid for worker, _, _ in engine._busy.values()]
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
