"""Plans of experiments that tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stmbench.experiments.planning import Resources, plan
from stmbench.experiments.reading import read_experiment
from stmbench.experiments.tasks import Task
from tests.experiments.files import write


def planned(folder: Path, text: str, *, resources: Resources | None = None, **options: Any) -> list[Task]:
    """The tasks of an experiment with this text."""
    return plan(read_experiment(write(folder, text)), resources or Resources(), **options)


def named(tasks: list[Task], name: str) -> Task:
    """The one task of this name."""
    (task_named,) = [task for task in tasks if task.name == name]
    return task_named
