"""A real Ray cluster of two nodes on loopback: what it does is what one process does, even where a worker is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

# read when ray is imported: without the first, a driver waits for nodes at an address that is not loopback's
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
pytest.importorskip("ray")

from stmbench.experiments.engines import LocalEngine
from stmbench.experiments.engines.ray import RayEngine
from stmbench.experiments.planning import Resources, plan
from stmbench.experiments.reading import read_experiment
from stmbench.experiments.running import Run, RunReport
from stmbench.plugins import load_plugins
from stmbench.tables import Store, read
from tests.experiments.files import HEAD, TINY, write
from tests.experiments.plugins import killer_at_work, noted
from tests.experiments.ray_nodes import running_cluster

pytestmark = pytest.mark.ray
TEXT = TINY.replace("unified_dw_conv_nano", "unified_killer_nano")
TIMES = ("training_time", "throughput", "latency")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_cluster(1, 1) as cluster:
        yield str(cluster.address)


def values(folder: Path) -> pd.DataFrame:
    """What a store says, without when, in which run and how fast."""
    frame = read(folder).drop(columns=["created_utc", "run_id"])
    frame = frame[~frame["metric"].isin(TIMES)]
    return frame.sort_values(list(frame.columns), ignore_index=True)


def on_cluster(tasks: list[object], folder: Path, address: str) -> RunReport:
    Store(folder).require_writable()
    with RayEngine(folder, address) as engine:
        assert engine.slots == 2, "both nodes"
        return Run(tasks, engine, folder, estimates={}, tell=lambda _: None).run()  # type: ignore[arg-type]


def test_a_worker_killed_at_work_loses_nothing(tmp_path: Path, address: str) -> None:
    own = killer_at_work(tmp_path)
    load_plugins([own])
    tasks = plan(read_experiment(write(tmp_path, TEXT)), Resources(), plugins=(str(own),))
    report = on_cluster(list(tasks), tmp_path / "ray", address)
    assert len(noted(tmp_path)) == 1, "a worker was killed, and noted its process before"
    assert os.getpid() not in noted(tmp_path)
    assert not report.failures
    assert not report.skipped
    assert {result.name for result in report.results} == {task.name for task in tasks}

    local = tmp_path / "local"
    engine = LocalEngine(Store(local).require_writable().folder, lambda _: None)
    assert not Run(tasks, engine, local, estimates={}, tell=lambda _: None).run().failures
    pd.testing.assert_frame_equal(values(tmp_path / "ray"), values(local))
    assert sorted(Store(tmp_path / "ray").keys()) == sorted(Store(local).keys())

    again = on_cluster(list(tasks), tmp_path / "ray", address)
    assert sum(result.measured for result in again.results) == 0, "the store has it all"

    # weights that a user has travel to the node, and are called there what they are called here
    weights = tmp_path / "weights"
    weights.mkdir()
    (trained,) = (local / "checkpoints").glob("unified_identity_nano*/last.safetensors")
    shutil.copy(trained, weights / "unified_identity_nano.safetensors")
    text = f"{HEAD}weights: files\nanalyses: [{{analysis: eval, set: digits, num_images: 20}}]\n"
    one = plan(read_experiment(write(tmp_path, text)), Resources(weights=weights))[:1]
    assert not on_cluster(list(one), tmp_path / "own", address).failures
    accuracy = values(tmp_path / "own").query("metric == 'accuracy' and kind == 'summary'")
    same = values(local).query(
        "metric == 'accuracy' and analysis == 'eval' and mixer == 'identity' and kind == 'summary'"
    )
    assert accuracy["value"].tolist() == same["value"].tolist()
    assert accuracy["weights"].tolist() == same["weights"].tolist()

    # a store that does not take what comes back says so
    broken = tmp_path / "broken"
    (broken / "parts").mkdir(parents=True)
    (broken / "checkpoints").write_text("no folder")
    lost = on_cluster(list(tasks[:1]), broken, address).lost
    assert list(lost) == [tasks[0].name]
    assert lost[tasks[0].name].startswith("its results could not be written: ")
