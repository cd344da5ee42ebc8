"""What `stmbench run --dry-run` shows: a row for each kind of task, what is done of it, and about how long it takes.

Nothing here imports model code unless a store has to be looked into, or a task's time has to be measured.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stmbench.commands import terminal
from stmbench.data.sets import opened_once
from stmbench.errors import printable
from stmbench.experiments.estimating import Estimator, RecordedEstimator, threads_of_tasks, total
from stmbench.experiments.tasks import Task, TrainedWeights, is_done
from stmbench.tables.labels import duration

if TYPE_CHECKING:
    from stmbench.experiments.experiment import Experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One task: what, of which models, whether it is done, about how many seconds it takes, what it lacks."""

    title: str
    models: tuple[str, ...]
    done: bool
    seconds: float | None
    missing: str | None


def plan_table(
    heading: str, lines: Sequence[PlanLine], seconds: float, workers: int, about: Sequence[tuple[str, str]] = ()
) -> Table:
    """A row for each kind of task, and below it the time for all and what is missing; `about` stands above."""
    above = Text(heading)
    for name, text in about:
        above.append(f"\n{name.lower()}: {text}", style="not italic dim")
    table = Table(
        title=above,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption_justify="left",
    )
    table.add_column("what", no_wrap=True)
    for name in ("tasks", "models", "done", "to do", "missing", "about"):
        table.add_column(name, justify="right", no_wrap=True)
    for title in dict.fromkeys(line.title for line in lines):
        chosen = [line for line in lines if line.title == title]
        waiting = [line for line in chosen if not line.done and line.missing is None]
        times = [line.seconds for line in waiting if line.seconds is not None]
        table.add_row(
            title,
            str(len(chosen)),
            str(len({model for line in chosen for model in line.models})),
            str(sum(line.done for line in chosen)),
            str(len(waiting)),
            str(sum(line.missing is not None for line in chosen) or "–"),
            duration(sum(times)) if times else "–",
        )
    reasons = dict.fromkeys(line.missing for line in lines if line.missing)
    words = [f"about {duration(seconds)} with {workers} at a time"] if seconds else ["nothing to do"]
    words += [f"missing: {reason}" for reason in list(reasons)[:8]]
    words += [f"... and {len(reasons) - 8} more"] if len(reasons) > 8 else []
    table.caption = Text("\n".join(words), style="dim")
    return table


def show_plan(
    experiment: Experiment, tasks: Sequence[Task], folder: Path, *, workers: int, file: Path | None = None
) -> None:
    """What would be done, on standard output; where data are missing, how to do without them, on standard error."""
    done = tasks_done(tasks, folder)
    estimates = estimated(tasks, done, workers)
    lines = [
        PlanLine(
            title=task.title,
            models=task.models,
            done=done[task.name],
            seconds=estimates[task.name],
            missing=task.missing,
        )
        for task in tasks
    ]
    todo = [task for task in tasks if not done[task.name] and task.missing is None]
    seconds = total(todo, estimates, workers)
    table = plan_table(experiment.heading, lines, seconds, workers, experiment.about)
    terminal.console(terminal.TABLE_WIDTH).print(table)
    if file and any(task.missing for task in tasks) and not experiment.miniature:
        line = f"the miniature needs nothing: stmbench run {shlex.quote(str(file))} --mini"
        Console(stderr=True).print(Text(printable(line)), soft_wrap=True)


def workers_for(tasks: Sequence[Task], workers: int) -> int:
    """How many of the workers have something to do at a time."""
    return max(1, min(workers, sum(not task.alone and task.missing is None for task in tasks)))


def tasks_done(tasks: Sequence[Task], folder: Path) -> dict[str, bool]:
    """Whether the store has all of each task. Raises TableError for a store of a newer schema."""
    if not (folder / "parts").is_dir():
        return {task.name: False for task in tasks}
    from stmbench.tables import Store

    if not Store(folder).keys():
        return {task.name: False for task in tasks}
    trained = TrainedWeights(folder)
    with opened_once():
        return {task.name: not task.fresh and is_done(task, folder, trained) for task in tasks}


def estimated(
    tasks: Sequence[Task], done: Mapping[str, bool], workers: int, *, measured: bool = False
) -> dict[str, float | None]:
    """About how many seconds each task takes; None for what is done or cannot be told.

    Args:
        measured: whether the speed of each model is measured here and now, which takes a second for each; otherwise
            what is written down of the models that come with stmbench will do.
    """
    waiting = [task for task in tasks if task.missing is None and not done[task.name]]
    found: dict[str, float | None] = dict.fromkeys(task.name for task in tasks)
    if not waiting:
        return found
    device = waiting[0].device
    if not measured and device == "cpu":
        try:
            recorded = RecordedEstimator(device, max(1, (os.cpu_count() or 1) // workers))
            return found | {task.name: recorded.seconds(task) for task in waiting}
        except LookupError:  # a model, or a set, of which nothing is written down
            pass
    estimator = Estimator(device, threads_of_tasks(workers))
    with opened_once():
        return found | {task.name: estimator.seconds(task) for task in waiting}
