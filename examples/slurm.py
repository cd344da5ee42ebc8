"""An experiment's tasks as jobs of a Slurm cluster: python examples/slurm.py FILE STORE --cluster slurm.

Each task is one job; those that need others come after them. What is done is not submitted again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import submitit

from stmbench.experiments.planning import Resources, plan
from stmbench.experiments.reading import read_experiment
from stmbench.experiments.tasks import Task, execute, is_done
from stmbench.tables import Store


def submit(tasks: list[Task], folder: Path, cluster: str, settings: Mapping[str, Any]) -> list[str]:
    """Do the tasks in rounds: in each, all whose needs are done, as jobs side by side. Returns what failed."""
    Store(folder).require_writable()
    executor = submitit.AutoExecutor(folder=folder / "jobs", cluster=cluster)
    executor.update_parameters(**settings)
    waiting = [task for task in tasks if task.missing is None and not is_done(task, folder)]
    failed: dict[str, str] = {}
    while waiting:
        names = {task.name for task in waiting}
        ready = [task for task in waiting if not names & set(task.needs)]
        waiting = [task for task in waiting if task not in ready]
        able = [task for task in ready if not failed.keys() & set(task.needs)]
        failed |= {task.name: "needs what failed" for task in ready if task not in able}
        jobs = [(task, executor.submit(execute, task, folder)) for task in able]
        for task, job in jobs:
            error = job.exception()
            if error is not None:
                failed[task.name] = str(error).strip().splitlines()[-1]
            elif job.result().failures:
                failed[task.name] = "; ".join(job.result().failures)
    return [f"{name}: {reason}" for name, reason in failed.items()]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--mini", action="store_true")
    parser.add_argument("--cluster", default="local", help="slurm, or local: processes of this machine")
    parser.add_argument("--partition", default=None)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--minutes", type=int, default=60, help="of one job")
    given = parser.parse_args()
    settings = {"timeout_min": given.minutes, "gpus_per_node": given.gpus}
    settings |= {"slurm_partition": given.partition} if given.partition else {}
    resources = Resources(device="cuda" if given.gpus else "cpu")
    tasks = plan(read_experiment(given.file, mini=given.mini), resources)
    for line in submit(tasks, given.store, given.cluster, settings):
        print(f"failed: {line}")


if __name__ == "__main__":
    main()
