"""An experiment of many units on a Ray cluster of some nodes on this machine, of which one is lost, and the driver too.

    python -m benchmarks.cluster [--units 10000] [--nodes 3] [--duration 0]

The units are those of a plug-in that computes nothing (`simulated_analysis.py`). After a third of them a node is
killed, and a new one joins; after two thirds the driver gets SIGKILL and the same command is run again. Printed are
how long the plan takes, of an empty store and of that of the killed run, the most memory that the driver held, units a
second, and how many units were measured twice. Without Ray it says so and does nothing. Ends with 1 where rows are
missing.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

from stmbench.tables import Store

ROOT: Final = Path(__file__).resolve().parent.parent
MIXERS: Final = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "identity")
NODE: Final = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 100 * 2**20}
EVERY_S, MIB, LIMIT_S = 0.2, 2**20, 7200.0


class Experiment:
    """The experiment's file, its store, and its driver's processes."""

    def __init__(self, folder: Path, units: int, duration: float) -> None:
        self.units = units - units % len(MIXERS)
        self.file, self.store, self.log = folder / "scale.yaml", folder / "store", folder / "units.log"
        shutil.copy(ROOT / "benchmarks" / "simulated_analysis.py", folder)
        models, seeds = [f"unified_{name}_nano" for name in MIXERS], list(range(self.units // len(MIXERS)))
        step = f"{{analysis: simulated, num_images: 1, duration: {duration}, log: {self.log}}}"
        self.file.write_text(
            f"title: Many units\nplugins: [simulated_analysis.py]\nmodels: [{', '.join(models)}]\nseeds: {seeds}\n"
            f"data: {{set: digits}}\nanalyses: [{step}]\n"
        )
        self.log.touch()
        self._seen = 0, 0  # bytes of the log that were read, and lines in them

    def command(self, *more: str) -> list[str]:
        """The command of the driver."""
        command = [sys.executable, "-m", "stmbench", "run", str(self.file), "--out", str(self.store)]
        return [*command, "--allow-plugins", *more]

    def plan(self) -> float:
        """Seconds of processor time that the plan takes, with Python's start."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(self.command("--dry-run"), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def measured(self) -> int:
        """How many units were begun so far, those of a killed driver included."""
        place, lines = self._seen
        with self.log.open("rb") as file:
            file.seek(place)
            text = file.read()
        self._seen = place + len(text), lines + text.count(b"\n")
        return self._seen[1]

    def kept(self) -> int:
        """How many parts the store has."""
        parts = self.store / "parts"
        return sum(name.endswith(".parquet") for name in os.listdir(parts)) if parts.is_dir() else 0


class Driver:
    """A process that runs the experiment, and the memory that it held in bytes, with libraries' files and without.

    Attributes:
        begun: at its first unit. peak: at most.
    """

    def __init__(self, experiment: Experiment, address: str) -> None:
        self.experiment, self.begun, self.peak = experiment, (0, 0), (0, 0)
        command = experiment.command("--engine", "ray", "--address", address)
        with (experiment.file.parent / "driver.log").open("ab") as log:
            self.process = psutil.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def until(self, reached: Callable[[], bool]) -> float:
        """Watch it until something is so, or it ended; returns the seconds that took."""
        began = time.monotonic()
        while self.process.poll() is None and not reached():
            if time.monotonic() - began > LIMIT_S:
                raise TimeoutError(f"{self.experiment.measured()} of {self.experiment.units} units")
            memory = self.process.memory_info()
            held = memory.rss, memory.rss - memory.shared
            self.peak = max(self.peak[0], held[0]), max(self.peak[1], held[1])
            if self.begun == (0, 0) and self.experiment.kept():
                self.begun = held
            time.sleep(EVERY_S)
        return time.monotonic() - began


def main() -> int:
    """Print the table; 1 where rows are missing in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=3, help="with one processor each")
    parser.add_argument("--duration", type=float, default=0.0, help="seconds that a unit sleeps")
    given = parser.parse_args()
    if importlib.util.find_spec("ray") is None:
        print("Ray is not installed: pip install 'stmbench[ray]'")
        return 0
    # read when ray is imported: without the first, a driver waits for nodes at an address that is not loopback's
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="stmbench-cluster-") as name:
        experiment = Experiment(Path(name), given.units, given.duration)
        cluster: Any = Cluster()
        try:
            cluster.add_node(num_cpus=0, **NODE)
            nodes = [cluster.add_node(num_cpus=1, **NODE) for _ in range(given.nodes)]
            rows = measured(experiment, cluster, nodes)
        finally:
            cluster.shutdown()
        print("| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows), sep="\n")
        return int(len(Store(experiment.store).read(columns=["value"])) != experiment.units)


def measured(experiment: Experiment, cluster: Any, nodes: list[Any]) -> list[tuple[str, str]]:
    """Run it, take a node away, kill the driver, run it again: what is printed."""
    units, address = experiment.units, str(cluster.address)
    rows = [("units", f"{units:,}"), ("plan of an empty store, s of processor time", f"{experiment.plan():.1f}")]
    driver = Driver(experiment, address)
    driver.until(lambda: experiment.measured() > units // 30)
    first = experiment.measured()
    seconds = driver.until(lambda: experiment.measured() >= units // 3)
    rows += [("units a second", f"{(experiment.measured() - first) / seconds:.1f}")]
    cluster.remove_node(nodes[0], allow_graceful=False)
    seen = experiment.kept()
    after = driver.until(lambda: experiment.kept() > seen + 2 * len(nodes))
    rows += [("after the loss of a node, seconds until the next results", f"{after:.1f}")]
    cluster.add_node(num_cpus=1, **NODE)
    driver.until(lambda: experiment.kept() >= 2 * units // 3)
    driver.process.kill()
    driver.process.wait()
    began, last = time.monotonic(), experiment.measured()
    while True:
        time.sleep(1.0)
        if experiment.measured() == last:
            break
        last = experiment.measured()
    rows += [("after SIGKILL of the driver, seconds until its tasks ended", f"{time.monotonic() - began - 1:.0f}")]
    kept = experiment.kept()
    rows += [
        ("units in the store then", f"{kept:,}"),
        ("plan of that store, s of processor time", f"{experiment.plan():.1f}"),
    ]
    again = Driver(experiment, address)
    again.until(lambda: experiment.measured() > last)
    resumed = again.until(lambda: experiment.kept() >= units)
    rows += [("seconds of the second run for the rest", f"{resumed:.0f}")]
    running = max(driver.peak, again.peak)
    grown = driver.peak[1] - driver.begun[1]
    again.until(lambda: False)
    repeated = sum(count - 1 for count in collections.Counter(experiment.log.read_text().splitlines()).values())
    rows += [
        ("driver at its first unit, MiB (without the libraries' files)", _memory(driver.begun)),
        ("driver while units ran, at most", _memory(running)),
        ("that is more by", f"{grown / MIB:.0f} MiB"),
        ("driver with the tables and the report, at most", _memory(again.peak)),
        ("units measured twice", f"{repeated}"),
        ("of them in flight when a node or the driver was lost, at most", f"{2 * 2 * len(nodes)}"),
        ("exit code", f"{again.process.returncode}"),
    ]
    return rows


def _memory(held: tuple[int, int]) -> str:
    return f"{held[0] / MIB:.0f} ({held[1] / MIB:.0f})"


if __name__ == "__main__":
    sys.exit(main())
