"""What the Ray engine asks a cluster for, seen by a cluster that is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stmbench.errors import ConfigError, InputError
from stmbench.experiments.engines import TaskFailed
from stmbench.experiments.engines import ray as engine_module
from stmbench.experiments.engines.ray import RayEngine, unpack
from stmbench.experiments.tasks import Task
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
        self.gpus = 1.0

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.settings = options

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 12.0, "GPU": self.gpus} if self.gpus else {"CPU": 12.0}

    def nodes(self) -> list[dict[str, Any]]:
        nodes = [(4, True), (8, True), (64, False)]
        return [{"Resources": {"CPU": cores}, "Alive": alive} for cores, alive in nodes]

    def remote(self, function: Any) -> FakeRay:
        return self

    def options(self, **options: Any) -> Any:
        self.asked.append(options)
        return SimpleNamespace(remote=lambda task, files: len(self.asked))

    def wait(self, pending: list[int], **_: Any) -> tuple[list[int], list[int]]:
        return pending[:1], pending[1:]

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
    assert [(asked["num_cpus"], asked["num_gpus"]) for asked in fake.asked] == [(1, 0), (8, 0), (1, 0.5), (8, 0.5)]
    assert {(asked["max_retries"], asked["name"]) for asked in fake.asked} == {(2, "profile")}
    engine.close()
    assert fake.stopped == ["task 1", "task 2", "task 3", "task 4", "driver"]


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
    replace = engine_module.os.replace

    def noting(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(engine_module.os, "replace", noting)
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
    packed, files = engine_module._packed(asked, tmp_path)
    assert packed.plugins == ("plugins/0/mine.py", "plugins/1/other")
    sent = {place: content for place, content in files.items() if place.startswith("plugins/")}
    assert sent == {
        "plugins/0/mine.py": b"import helper\n",
        "plugins/0/helper.py": b"A = 1\n",
        "plugins/1/other/helper.py": b"",
    }
