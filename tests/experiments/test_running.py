"""The order of tasks, what becomes of those that cannot be done, and where a run says it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from stmbench.experiments import running
from stmbench.experiments.engines import Event, TaskProgress
from stmbench.experiments.running import Run, RunReport, RunStatus
from stmbench.experiments.steps import Step
from stmbench.experiments.tasks import Task
from stmbench.tables import Store, read
from tests.experiments.files import MODELS
from tests.experiments.scripted_engine import ScriptedEngine, result

MODEL = MODELS[1]


class AnsweringEngine(ScriptedEngine):
    """One that answers here what the store has."""

    def answers(self, task: Task) -> bool:
        return True


@pytest.fixture(autouse=True)
def told_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "TELL_EVERY_S", 0.0)


def task(name: str, *needs: str, training: bool = False, alone: bool = False, missing: str | None = None) -> Task:
    step = None if training else Step(name="erf", analysis="erf")
    return Task(name=name, step=step, models=(MODEL,), seed=3, needs=needs, alone=alone, missing=missing)


def run(
    tasks: Sequence[Task],
    engine: ScriptedEngine,
    folder: Path,
    estimates: dict[str, float | None] | None = None,
) -> tuple[RunReport, list[RunStatus]]:
    told: list[RunStatus] = []
    report = Run(tasks, engine, folder, estimates=estimates or {}, tell=told.append).run()
    return report, told


def reasons(folder: Path) -> dict[str, tuple[str, str]]:
    """What the store says of tasks that were not done: reason -> (status, analysis)."""
    frame = read(folder)
    columns = zip(frame["reason"], frame["status"], frame["analysis"], strict=True)
    return {reason: (status, analysis) for reason, status, analysis in columns}


def test_a_task_waits_for_what_it_needs(tmp_path: Path) -> None:
    engine = ScriptedEngine(slots=4)
    report, _ = run([task("look", "train"), task("train", training=True), task("other")], engine, tmp_path)
    assert engine.together == [["train", "other"], ["other", "look"], ["look"]]
    assert {result.name for result in report.results} == {"look", "train", "other"}
    assert not report.failures
    assert not report.skipped
    assert report.warnings == ["noise"], "each once"


def test_what_is_needed_may_be_done_elsewhere(tmp_path: Path) -> None:
    report, _ = run([task("look", "a task of no plan")], ScriptedEngine(), tmp_path)
    assert [result.name for result in report.results] == ["look"]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_no_more_tasks_than_slots_are_under_way(tmp_path: Path, slots: int) -> None:
    engine = ScriptedEngine(slots=slots)
    run([task(str(number)) for number in range(5)], engine, tmp_path)
    assert max(map(len, engine.together)) == slots
    assert engine.order == ["0", "1", "2", "3", "4"]


def test_a_task_that_is_to_run_alone_does(tmp_path: Path) -> None:
    engine = ScriptedEngine(slots=3)
    tasks = [task("a"), task("profile", alone=True), task("b"), task("c", "profile"), task("second", alone=True)]
    run(tasks, engine, tmp_path)
    for names in engine.together:
        assert len(names) == 1 or not {"profile", "second"} & set(names)
    assert sorted(engine.order) == sorted(item.name for item in tasks)


def test_a_lost_task_is_a_row_and_stops_only_what_needs_it(tmp_path: Path) -> None:
    engine = ScriptedEngine(slots=2, ends={"train": "its process died"})
    tasks = [task("train", training=True), task("look", "train"), task("both", "look", "other"), task("other")]
    report, _ = run(tasks, engine, tmp_path)
    assert report.lost == {"train": "its process died"}
    assert report.skipped == {
        "look": "needs 'train', which was not done",
        "both": "needs 'look', which was not done",
    }
    assert report.failures == ["train: its process died"]
    assert [result.name for result in report.results] == ["other"]
    assert reasons(tmp_path) == {
        "its process died": ("failed", "train"),
        "needs 'train', which was not done": ("skipped", "erf"),
        "needs 'look', which was not done": ("skipped", "erf"),
    }
    (row,) = read(tmp_path).query("status == 'failed'").to_dict("records")
    assert (row["model"], row["mixer"], row["scale"], row["seed"]) == (MODEL, "dw_conv", "nano", 3)


def test_weights_of_a_training_that_failed_are_not_looked_at(tmp_path: Path) -> None:
    engine = ScriptedEngine(ends={"train": ("the loss is not finite",), "eval": ("a failure",)})
    tasks = [task("train", training=True), task("look", "train"), task("eval"), task("both", "eval")]
    report, _ = run(tasks, engine, tmp_path)
    assert report.failures == ["train: the loss is not finite", "eval: a failure"]
    assert set(report.skipped) == {"look"}, "a unit that failed within an analysis stops no comparison of the others"


def test_a_later_run_that_does_the_task_removes_the_reason(tmp_path: Path) -> None:
    tasks = [task("train", training=True), task("look", "train")]
    run(tasks, ScriptedEngine(ends={"train": "no memory"}), tmp_path)
    run(tasks, ScriptedEngine(ends={"train": "again no memory"}), tmp_path)
    assert set(reasons(tmp_path)) == {"again no memory", "needs 'train', which was not done"}
    run(tasks, ScriptedEngine(ends={"look": "other trouble"}), tmp_path)
    assert set(reasons(tmp_path)) == {"other trouble"}
    run(tasks, ScriptedEngine(), tmp_path)
    assert len(read(tmp_path)) == 0


def test_a_task_that_lacks_something_is_never_begun(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    report, _ = run([task("a", missing="a GPU"), task("b", "a"), task("c")], engine, tmp_path)
    assert engine.order == ["c"]
    assert report.skipped == {"a": "missing: a GPU", "b": "needs 'a', which was not done"}
    assert "missing: a GPU" in reasons(tmp_path)
    run([task("a"), task("b", "a"), task("c")], ScriptedEngine(), tmp_path)
    assert len(read(tmp_path)) == 0, "the machine has a GPU now"


def test_a_run_tells_where_it_stands(tmp_path: Path) -> None:
    engine = ScriptedEngine(moves=lambda name: [TaskProgress(name=name, text=f"half of {name}", share=0.5)])
    _, told = run([task("a"), task("b"), task("c", missing="data")], engine, tmp_path)
    assert [standing.done for standing in told] == [1, 2, 2, 3], "what is skipped counts as done with"
    assert {standing.total for standing in told} == {3}
    assert told[0].running == {"a": "a"}
    assert told[-1].running == {}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_the_time_left_follows_how_the_estimates_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(running, "time", clock)

    def pass_time(name: str) -> list[TaskProgress]:
        clock.now += 20.0  # twice the estimate
        return []

    estimates: dict[str, float | None] = {"a": 10.0, "b": 10.0, "c": None}
    _, told = run([task("a"), task("b"), task("c")], ScriptedEngine(moves=pass_time), tmp_path, estimates)
    assert [standing.seconds_left for standing in told] == [20.0, 20.0, 20.0, 0.0, 0.0, 0.0]


def test_time_left_of_tasks_that_share_and_of_one_that_is_under_way(tmp_path: Path) -> None:
    told: list[RunStatus] = []
    tasks = [task("a"), task("b"), task("alone", alone=True)]
    engine = ScriptedEngine(slots=2)
    estimates: dict[str, float | None] = {"a": 8.0, "b": 8.0, "alone": 5.0}
    going = Run(tasks, engine, tmp_path, estimates=estimates, tell=told.append)
    going.say()
    going._start()
    going.hear(TaskProgress(name="a", text="half", share=0.5))
    going.hear(TaskProgress(name="b", text="beyond", share=1.5))
    assert [standing.seconds_left for standing in told] == [13.0, 13.0, 13.0, 11.0, 7.0]
    assert told[-1].running == {"a": "half", "b": "beyond"}


def test_nothing_is_said_of_time_where_nothing_is_known(tmp_path: Path) -> None:
    _, told = run([task("a")], ScriptedEngine(), tmp_path, {"a": None})
    assert {standing.seconds_left for standing in told} == {None}


def test_an_engine_is_closed_whatever_happens() -> None:
    engine = ScriptedEngine()
    with pytest.raises(KeyboardInterrupt), engine:
        raise KeyboardInterrupt
    assert engine.closed


def test_what_one_task_measured_and_another_took_is_not_called_taken_from_the_store() -> None:
    report = RunReport(
        results=[
            result("counts", made=("a", "b"), reused=("old",)),
            result("timings", made=("c",), reused=("a", "b", "old")),
        ]
    )
    assert (report.made, report.reused) == ({"a", "b", "c"}, {"old"})


def test_what_would_end_after_the_deadline_is_left_out_with_what_needs_it(tmp_path: Path) -> None:
    tasks = [task("short"), task("train", training=True), task("look", "train"), task("look again", "look")]
    estimates: dict[str, float | None] = {"short": 1.0, "train": 1e6, "look": 1.0, "look again": 1.0}
    report = Run(tasks, ScriptedEngine(), tmp_path, estimates=estimates, tell=lambda _: None,
                 deadline=running.time.monotonic() + 100).run()  # fmt: skip
    assert [result.name for result in report.results] == ["short"]
    assert set(report.left_out) == {"train", "look", "look again"}
    assert not report.skipped, "left out on purpose: no failure"
    assert not report.failures
    assert {status for status, _ in reasons(tmp_path).values()} == {"skipped"}
    later = Run(tasks, ScriptedEngine(), tmp_path, estimates=estimates, tell=lambda _: None).run()
    assert {result.name for result in later.results} == {"short", "train", "look", "look again"}


class Counted(dict[str, float | None]):
    """Estimates that count how often they are asked for."""

    asked = 0

    def get(self, *arguments: object) -> float | None:
        self.asked += 1
        return super().get(*arguments)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("slots", [1, 3])
def test_the_work_around_a_task_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    looked, listed = list[int](), list[str]()
    monkeypatch.setattr(Store, "remove", lambda self, key: listed.append(key))
    for count in (50, 200):
        names = [str(number) for number in range(count)]
        tasks = [task(name, *((str(int(name) - 7),) if int(name) % 10 == 9 else ())) for name in names]
        estimates = Counted(dict.fromkeys(names, 1.0))
        run(tasks, ScriptedEngine(slots), tmp_path, estimates)
        looked.append(estimates.asked)
    assert looked[1] < 4.5 * looked[0], "four times the tasks, four times the work"
    assert listed == [], "a store without reasons is not searched for one at the end of each task"


def test_a_run_is_told_of_a_few_times_a_second_and_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(running, "time", clock)
    monkeypatch.setattr(running, "TELL_EVERY_S", 0.5)

    def pass_time(name: str) -> list[TaskProgress]:
        clock.now += 0.125
        return []

    _, told = run([task(str(number)) for number in range(18)], ScriptedEngine(moves=pass_time), tmp_path)
    assert [status.done for status in told] == [0, 4, 8, 12, 16, 18]


def test_an_engine_that_takes_tasks_ahead_gets_them_and_slots_may_change(tmp_path: Path) -> None:
    class Growing(ScriptedEngine):
        def wait(self) -> list[Event]:
            self.slots, self.ahead = 2, 1
            return super().wait()

    engine = Growing(slots=1)
    engine.ahead = 1
    run([*(task(str(number)) for number in range(6)), task("profile", alone=True)], engine, tmp_path)
    assert [len(names) for names in engine.together] == [2, 3, 3, 3, 2, 1, 1]
    assert engine.together[-1] == ["profile"], "which still runs alone"


def test_what_the_store_has_is_answered_beside_what_runs_elsewhere(tmp_path: Path) -> None:
    """Nodes have work from the first moment on, and what needs a task that was done gets its turn."""
    kept = [str(number) for number in range(4)]
    tasks = [*map(task, kept), task("after", "1"), *map(task, "abc"), task("alone", alone=True)]
    engine = AnsweringEngine(slots=2)
    run_of = Run(tasks, engine, tmp_path, estimates={}, tell=lambda _: None, done={*kept, "elsewhere"})
    assert len(run_of.run().results) == len(tasks)
    assert engine.together[0] == ["a", "b", "0"]
    assert ["alone"] in engine.together
    assert all(len(names - set(kept)) <= engine.slots for names in map(set, engine.together))
    assert all(len(names & set(kept)) <= 1 for names in map(set, engine.together))
    assert engine.order.index("c") < engine.order.index("3")
    plain = ScriptedEngine(slots=2)
    Run(tasks, plain, tmp_path, estimates={}, tell=lambda _: None, done=set(kept)).run()
    assert plain.order[:2] == ["0", "1"], "an engine that does not answer itself gets all tasks in order"
