"""Plans of experiments that tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stmbench.sweeps.planning import plan
from stmbench.sweeps.reading import read_experiment
from stmbench.sweeps.resources import Resources
from stmbench.sweeps.tasks import Task
from tests.sweeps.files import write


def planned(folder: Path, text: str, *, resources: Resources | None = None, **options: Any) -> list[Task]:
    """The tasks of an experiment with this text."""
    return plan(read_experiment(write(folder, text)), resources or Resources(), **options)


def named(tasks: list[Task], name: str) -> Task:
    """The one task of this name."""
    (found,) = [task for task in tasks if task.name == name]
    return found
