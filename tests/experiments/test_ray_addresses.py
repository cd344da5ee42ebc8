"""A Ray cluster whose store is at an address: nodes read and write it there, and the driver gets tables alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# read when ray is imported: without the first, a driver waits for nodes at an address that is not loopback's
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
pytest.importorskip("ray")

from stmbench.experiments.engines import LocalEngine
from stmbench.experiments.engines.ray import RayEngine
from stmbench.experiments.planning import Resources, plan
from stmbench.experiments.reading import read_experiment
from stmbench.experiments.running import Run
from stmbench.plugins import load_plugins
from stmbench.tables import Store
from stmbench.tables.addresses import end_all
from tests.experiments.files import TINY, write
from tests.experiments.plugins import killer_at_work, noted
from tests.experiments.ray_nodes import running_cluster
from tests.experiments.test_ray_cluster import values
from tests.s3_server import Bucket

pytestmark = pytest.mark.ray
TEXT = TINY.replace("unified_dw_conv_nano", "unified_killer_nano")


@pytest.fixture(scope="module")
def cluster(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two nodes, with a cache that is not the driver's."""
    with running_cluster(1, 1, XDG_CACHE_HOME=str(tmp_path_factory.mktemp("nodes"))) as made:
        yield str(made.address)


def test_what_nodes_do_is_at_the_address(
    cluster: str, bucket: Bucket, machine: Callable[[str], Path], tmp_path: Path
) -> None:
    own = killer_at_work(tmp_path)
    load_plugins([own])
    tasks = plan(read_experiment(write(tmp_path, TEXT)), Resources(), plugins=(str(own),))
    folder = machine("driver")
    Store(folder).require_writable()
    with RayEngine(folder, cluster) as engine:
        report = Run(tasks, engine, folder, estimates={}, tell=lambda _: None).run()
    assert len(noted(tmp_path)) == 1, "a worker was killed, and noted its process before"
    assert not report.failures
    assert not report.skipped

    local = tmp_path / "local"
    one = LocalEngine(Store(local).require_writable().folder, lambda _: None)
    assert not Run(tasks, one, local, estimates={}, tell=lambda _: None).run().failures
    pd.testing.assert_frame_equal(values(folder), values(local))
    assert not list(folder.glob("checkpoints/*/*.safetensors")), "weights do not pass through the driver"
    weights = [name for name in bucket.names() if name.endswith("last.safetensors")]
    assert len(weights) == len(list(local.glob("checkpoints/*/last.safetensors")))
    end_all()

    again = machine("another driver")
    with RayEngine(again, cluster) as engine:
        second = Run(tasks, engine, again, estimates={}, tell=lambda _: None).run()
    assert not second.made, "nothing is measured twice"
