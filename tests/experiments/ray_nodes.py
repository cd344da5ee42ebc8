"""A Ray cluster on loopback for tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NODE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}


@contextlib.contextmanager
def running_cluster(*cores: int, **environment: str) -> Iterator[Any]:
    """A cluster of nodes with so many cores, the head first, which this process is connected to.

    Args:
        environment: variables of the nodes.
    """
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).parents[2])
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        for name, value in environment.items():
            patch.setenv(name, value)
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        try:
            for count in cores:
                cluster.add_node(num_cpus=count, **NODE)
            ray.init(str(cluster.address), _node_ip_address="127.0.0.1", log_to_driver=False, configure_logging=False)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
