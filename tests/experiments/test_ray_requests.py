"""What the Ray engine asks a cluster for, seen by a cluster that is none."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, InputError
from stmbench.experiments.engines import Done, TaskFailed, TaskProgress
from stmbench.experiments.engines import ray as engine_module
from stmbench.experiments.engines.ray import RayEngine
from stmbench.experiments.engines.ray_worker import LOCK, remove_abandoned, scratch_folder, unpack
from stmbench.experiments.engines.sent_files import SentFiles
from stmbench.experiments.tasks import Task, analysis_of, execute
from stmbench.tables import Store
from tests.experiments.files import HEAD
from tests.experiments.plans import planned

COSTS = f"{HEAD}analyses: [{{analysis: profile, timing: false}}]\n"


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


class FakeRay:
    """A cluster of two nodes with 4 and 8 processors, where every task ends with `error`."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, error: Exception) -> None:
        self.error, self.asked, self.stopped = error, list[dict[str, Any]](), list[str]()
        self.gpus, self.ended = 0.5, True  # of each node; whether tasks end
        self.cores = [(4, True), (8, True), (64, False)]

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.settings = options

    def nodes(self) -> list[dict[str, Any]]:
        own = {"GPU": self.gpus} if self.gpus else {}
        return [{"Resources": {"CPU": cores, **own}, "Alive": alive} for cores, alive in self.cores]

    def remote(self, function: Any) -> FakeRay:
        return self

    def options(self, **options: Any) -> Any:
        self.asked.append(options)
        return SimpleNamespace(remote=lambda task, files: len(self.asked))

    def put(self, content: Any) -> Any:
        return content

    def wait(self, pending: list[int], **_: Any) -> tuple[list[int], list[int]]:
        return (pending[:1], pending[1:]) if self.ended else ([], pending)

    def get(self, reference: int) -> Any:
        raise self.error

    def cancel(self, reference: int, *, force: bool) -> None:
        self.stopped.append(f"task {reference}")

    def shutdown(self) -> None:
        self.stopped.append("driver")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay(RayError("gone"))
    monkeypatch.setattr(engine_module, "_import_ray", lambda: ray)
    return ray


def task(folder: Path, **changes: Any) -> Task:
    return dataclasses.replace(planned(folder, COSTS)[0], **{"alone": False, **changes})


def test_processors_and_gpus_that_a_task_asks_for(tmp_path: Path, fake: FakeRay) -> None:
    engine = RayEngine(tmp_path, "host:1", gpus=0.5)
    assert engine.slots == 12
    for changes in ({}, {"alone": True}, {"device": "cuda"}, {"device": "cuda:1", "alone": True}):
        engine.submit(task(tmp_path, **changes))
    assert (engine.slots, engine.ahead) == (2, 2), "of GPUs, half a one for each task"
    assert [(asked["num_cpus"], asked["num_gpus"]) for asked in fake.asked] == [(1, 0), (8, 0), (1, 0.5), (8, 0.5)]
    assert {(asked["max_retries"], asked["name"]) for asked in fake.asked} == {(2, "profile")}
    engine.close()
    assert fake.stopped == ["task 1", "task 2", "task 3", "task 4", "driver"]


def test_sets_stay_open_for_the_engine_alone(tmp_path: Path, fake: FakeRay) -> None:
    store = Store(tmp_path / "store").require_writable()
    text = f"{HEAD}data: {{set: digits}}\nanalyses: [{{analysis: erf, num_images: 1, stages: [1]}}]\n"
    known, *_ = planned(tmp_path, text)
    execute(known, store.folder)
    engine = RayEngine(store.folder, "host:1")
    engine.submit(known)
    (done,) = engine.wait()
    assert isinstance(done, Done)
    assert engine._sets
    assert open_set("digits") is not open_set("digits"), "in whatever else this process does, before it is closed"
    engine.close()


def test_nodes_that_come_and_go_are_seen(tmp_path: Path, fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "POLL_S", 0.0)
    engine = RayEngine(tmp_path, "host:1")
    fake.cores.append((16, True))
    assert engine.slots == 28
    engine.submit(task(tmp_path, alone=True))
    assert fake.asked[-1]["num_cpus"] == 16
    fake.cores, fake.ended = [(4, True)], False
    monkeypatch.setattr(fake, "cancel", lambda reference, force: setattr(fake, "ended", True))
    (lost,) = engine.wait()
    assert isinstance(lost, TaskFailed), "it was asked for again, and ended as every task here"
    assert [asked["num_cpus"] for asked in fake.asked] == [16, 4], "a node of 16 processors will never come back"


@pytest.mark.parametrize(
    ("device", "gone", "lacks"),
    [("cpu", "cores", "processors"), ("cuda", "gpus", "a GPU"), ("cuda", "cores", "processors")],
)
def test_a_task_that_no_node_can_run_any_more_waits_and_says_so_once(
    tmp_path: Path, fake: FakeRay, device: str, gone: str, lacks: str
) -> None:
    engine = RayEngine(tmp_path, "host:1")
    engine.submit(task(tmp_path, device=device))
    fake.ended = False
    before = fake.cores, fake.gpus
    fake.cores, fake.gpus = ([(4, False)], 0.0) if gone == "cores" else (fake.cores, 0.0)
    assert engine.wait() == [TaskProgress(name="profile", text=f"profile: waits for a node that has {lacks}")]
    assert engine.slots >= 1
    assert engine._with_fewer_nodes() == []
    fake.cores, fake.gpus = before
    assert engine.wait() == [TaskProgress(name="profile", text="profile")], "one has come"
    assert len(fake.asked) == 1


def test_what_is_sent_of_a_store_does_not_grow_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        f"{HEAD}seeds: [0, 1, 2, 3]\ndata: {{set: digits}}\nanalyses: [{{analysis: erf, num_images: 1, stages: [1]}}]\n"
    )
    tasks = planned(tmp_path, text)
    store = Store(tmp_path / "store").require_writable()
    for item in tasks[:4]:
        execute(item, store.folder)
    sent = SentFiles(store.folder, lambda content: content)
    assert [sent.has_all(item) for item in tasks] == [True] * 4 + [False] * 4
    again = dataclasses.replace(tasks[0], fresh=True)
    assert not sent.has_all(again)
    read = list[str]()
    metadata = Store.metadata
    monkeypatch.setattr(Store, "metadata", lambda self, key: read.append(key) or metadata(self, key))
    keys = {analysis_of(item, store.folder).plan().__next__()[0].key for item in tasks[:2]}
    for item in tasks[:2]:
        _, files = sent.packed(item)
        (part,) = [place for place in files if place.endswith(".parquet")]
        assert Path(part).stem in keys, "its own unit, none of another seed"
    read.clear()
    assert sent.packed(tasks[6])[1] == {}
    assert read == []


def test_what_killed_tasks_left_is_removed_and_what_living_ones_use_stays(tmp_path: Path) -> None:
    with scratch_folder() as living:
        abandoned = tmp_path / "stmbench-task-dead"
        abandoned.mkdir()
        (abandoned / LOCK).touch()
        (abandoned / "last.safetensors").write_bytes(b"large")
        (tmp_path / "stmbench-task-alive").symlink_to(living)
        remove_abandoned(tmp_path)
        assert not abandoned.exists()
        assert (living / LOCK).exists()
    assert not living.exists()


def test_a_large_file_is_handed_over_once(tmp_path: Path, fake: FakeRay) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(bytes(2**20))
    put = list[Any]()
    sent = SentFiles(tmp_path, lambda content: put.append(content) or len(put))
    asked = task(tmp_path, files={"unified_identity_nano": str(weights)})
    assert [sent.packed(asked)[1]["weights.safetensors"] for _ in range(3)] == [1, 1, 1]
    weights.write_bytes(bytes(2**20 + 1))
    assert sent.packed(asked)[1]["weights.safetensors"] == 2, "another file in its place"


def test_a_task_for_a_gpu_does_not_wait_where_no_node_has_one(tmp_path: Path, fake: FakeRay) -> None:
    fake.gpus = 0.0
    engine = RayEngine(tmp_path, "host:1")
    with pytest.raises(ConfigError, match="expected a GPU in the Ray cluster, got none; add a node"):
        engine.submit(task(tmp_path, device="cuda"))
    assert fake.asked == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RayError("gone"), "its worker died 3 times (RayError)"),
        (RayTaskError(ValueError("no such thing")), "ValueError: no such thing"),
    ],
)
def test_a_worker_that_died_and_an_error_there_are_told_apart(
    tmp_path: Path, fake: FakeRay, error: Exception, said: str
) -> None:
    fake.error = error
    engine = RayEngine(tmp_path, None)
    engine.submit(task(tmp_path))
    assert engine.wait() == [TaskFailed(name="profile", reason=said)]


def test_without_ray_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"expected ray for --engine ray, .*pip install 'stmbench\[ray\]'"):
        RayEngine(tmp_path, None)


def test_parts_are_written_after_the_files_that_they_speak_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def noting(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noting)
    unpack({"parts/a.parquet": b"1", "parts/a.erf.npy": b"2", "checkpoints/x/last.safetensors": b"3"}, tmp_path)
    assert order == ["last.safetensors", "a.erf.npy", "a.parquet"]
    assert (tmp_path / "parts" / "a.parquet").read_bytes() == b"1"
    assert not list(tmp_path.rglob(".*")), "no temporary file is left"


def test_a_plugin_travels_with_the_files_it_imports(tmp_path: Path) -> None:
    own = {"one/mine.py": "import helper\n", "one/helper.py": "A = 1\n", "one/unused.py": "", "other/helper.py": ""}
    for name, text in own.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    asked = task(tmp_path, plugins=(str(tmp_path / "one" / "mine.py"), str(tmp_path / "other")))
    packed, files = SentFiles(tmp_path, lambda content: content).packed(asked)
    assert packed.plugins == ("plugins/0/mine.py", "plugins/1/other")
    sent = {place: content for place, content in files.items() if place.startswith("plugins/")}
    assert sent == {
        "plugins/0/mine.py": b"import helper\n",
        "plugins/0/helper.py": b"A = 1\n",
        "plugins/1/other/helper.py": b"",
    }
