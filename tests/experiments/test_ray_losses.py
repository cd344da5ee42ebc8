"""A Ray cluster that loses nodes, all of them, and its driver: what is done in the end is what one process does."""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# read when ray is imported: without the first, a driver waits for nodes at an address that is not loopback's
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
pytest.importorskip("ray")

from stmbench.experiments.engines import LocalEngine
from stmbench.experiments.engines.ray import RayEngine
from stmbench.experiments.planning import Resources, plan
from stmbench.experiments.reading import read_experiment
from stmbench.experiments.running import Run, RunReport, RunStatus
from stmbench.experiments.tasks import Task
from stmbench.plugins import load_plugins
from stmbench.tables import Store, read
from tests.experiments.files import write
from tests.experiments.ray_nodes import NODE, running_cluster

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
SEEDS = 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors."""
    with running_cluster(0) as made:
        yield made


@pytest.fixture
def nodes(cluster: Any) -> Iterator[list[Any]]:
    """Two nodes with a processor each, of which a test may take some away."""
    here = [cluster.add_node(num_cpus=1, **NODE) for _ in range(2)]
    yield here
    for node in here:
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    folder = tmp_path_factory.mktemp("local")
    tasks = experiment(folder, 0.0)
    engine = LocalEngine(Store(folder / "store").require_writable().folder, lambda _: None)
    Run(tasks, engine, folder / "store", estimates={}, tell=lambda _: None).run()
    return values(folder / "store")


def experiment(folder: Path, duration: float) -> list[Task]:
    """Units that take so many seconds, and note in units.log that they were begun."""
    own = Path(shutil.copy(ROOT / "benchmarks" / "simulated_analysis.py", folder))
    load_plugins([own])
    step = f"{{analysis: simulated, num_images: 1, duration: {duration}, log: {folder / 'units.log'}}}"
    text = f"title: T\nplugins: [{own.name}]\nmodels: [unified_identity_nano]\nseeds: {list(range(SEEDS))}\n"
    file = write(folder, f"{text}data: {{set: digits}}\nanalyses: [{step}]\n")
    return plan(read_experiment(file), Resources(), plugins=(str(own),))


def values(folder: Path) -> dict[str, float]:
    frame = read(folder)
    assert set(frame["status"]) == {"ok"}
    assert not frame.attrs["unreadable"]
    return {
        f"{model} {seed}": value
        for model, seed, value in zip(frame["model"], frame["seed"], frame["value"], strict=True)
    }


def on_cluster(tasks: list[Task], folder: Path, address: str, tell: Callable[[RunStatus], None]) -> RunReport:
    with RayEngine(Store(folder / "store").require_writable().folder, address) as engine:
        return Run(tasks, engine, folder / "store", estimates={}, tell=tell).run()


def begun(folder: Path) -> list[str]:
    log = folder / "units.log"
    return log.read_text().splitlines() if log.exists() else []


def until(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_node_that_is_lost_loses_nothing(
    tmp_path: Path, cluster: Any, nodes: list[Any], one_process: dict[str, float]
) -> None:
    def tell(status: RunStatus) -> None:
        if status.done >= 3 and len(nodes) == 2:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)

    report = on_cluster(experiment(tmp_path, 0.3), tmp_path, str(cluster.address), tell)
    assert len(nodes) == 1, "one was lost amid the work"
    assert (report.failures, report.skipped) == ([], {})
    assert values(tmp_path / "store") == one_process
    assert len(begun(tmp_path)) <= SEEDS + 4, "again only what it was at work on, or held the results of"


def test_without_nodes_a_run_waits_for_one(
    tmp_path: Path, cluster: Any, nodes: list[Any], one_process: dict[str, float]
) -> None:
    said = list[str]()

    def tell(status: RunStatus) -> None:
        waits = [text for text in status.running.values() if "waits for a node that has processors" in text]
        if status.done >= 3 and not said and len(nodes) == 2:
            while nodes:
                cluster.remove_node(nodes.pop(), allow_graceful=False)
        if waits and not nodes:
            said.extend(waits)
            nodes.append(cluster.add_node(num_cpus=2, **NODE))

    report = on_cluster(experiment(tmp_path, 0.3), tmp_path, str(cluster.address), tell)
    assert said
    assert (report.failures, report.skipped) == ([], {})
    assert values(tmp_path / "store") == one_process


def test_a_driver_that_is_killed_leaves_no_task_behind_and_the_same_command_resumes(
    tmp_path: Path, cluster: Any, nodes: list[Any], one_process: dict[str, float]
) -> None:
    tasks = experiment(tmp_path, 1.0)
    command = [sys.executable, "-m", "stmbench", "run", str(tmp_path / "e.yaml"), "--out", str(tmp_path / "store")]
    command += ["--allow-plugins", "--engine", "ray", "--address", str(cluster.address)]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = Store(tmp_path / "store")
    until(lambda: len(store.names()) >= 3)
    driver.kill()
    driver.wait()
    kept = values(store.folder)
    assert 3 <= len(kept) < SEEDS
    time.sleep(2.0)
    left = begun(tmp_path)
    time.sleep(2.5)
    assert begun(tmp_path) == left, "nobody goes on for a driver that is gone"
    report = on_cluster(tasks, tmp_path, str(cluster.address), lambda _: None)
    assert (report.failures, report.skipped) == ([], {})
    assert len(report.reused) == len(kept)
    assert values(store.folder) == one_process
    twice = {name for name, count in collections.Counter(begun(tmp_path)).items() if count > 1}
    assert not twice & set(kept), "what was finished stays"
    assert len(twice) <= 8
