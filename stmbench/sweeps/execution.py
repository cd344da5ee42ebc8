"""Doing a task: the analysis that it stands for, on a store; and whether a store has it already."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.images import ImageAnalysis
from stmbench.errors import StmbenchError
from stmbench.mixers.plugins import load_plugins
from stmbench.sweeps.kinds import Subjects
from stmbench.sweeps.tasks import Task, TaskResult
from stmbench.tables import Store
from stmbench.training.analysis import Training
from stmbench.training.world import World


def execute(task: Task, folder: Path, *, listener: Listener | None = None) -> TaskResult:
    """Do what of the task the store does not have.

    Raises:
        StmbenchError: a task that cannot be begun; what fails within is in the result.
    """
    began = time.monotonic()
    load_plugins([Path(name) for name in task.plugins])
    report = analysis_of(task, folder, listener).run(fresh=task.fresh)
    return TaskResult(
        name=task.name,
        measured=report.measured,
        kept=report.kept,
        failures=tuple(report.failures),
        warnings=tuple(report.warnings),
        keys=tuple(report.keys),
        seconds=time.monotonic() - began,
    )


def analysis_of(task: Task, folder: Path, listener: Listener | None = None) -> Analysis:
    """The analysis that a task stands for. Raises what its config and its data raise."""
    store = Store(folder)
    if task.kind is None:
        return Training(task.runs, store, world=World(device=torch.device(task.device)), listener=listener)
    subjects = Subjects(
        models=task.models,
        checkpoints={model: Path(file) for model, file in weights_of(task, folder).items()},
        dataset=task.dataset,
        split=task.split,
        seed=task.seed,
        device=task.device,
        control=task.control,
        plugins=task.plugins,
    )
    return task.kind.make(subjects, store, listener)


def weights_of(task: Task, folder: Path) -> dict[str, str]:
    """model -> checkpoint; of trained weights the place where they are, or will be."""
    found = dict(task.files)
    for run in task.runs if task.kind is not None else ():
        kept = Training([run], Store(folder)).folder(run)
        path = kept.result if task.epoch is None else kept.path / f"epoch-{task.epoch:04d}.safetensors"
        found[run.model] = str(path)
    return found


def is_done(task: Task, folder: Path) -> bool:
    """Whether the store has all of a task; of a profile, whose units depend on one another, its summary."""
    if task.missing or not (folder / "parts").is_dir():
        return False
    if not all(Path(file).is_file() for file in weights_of(task, folder).values()):
        return False
    try:
        analysis = analysis_of(task, folder)
        if isinstance(analysis, Training):
            return all(
                analysis.is_done(analysis.unit_of(run)) and analysis.folder(run).result.is_file() for run in task.runs
            )
        if isinstance(analysis, ImageAnalysis):
            return all(analysis.is_done(unit) for unit, _ in analysis.plan())
    except StmbenchError:
        return False
    store = Store(folder)
    summaries = [store.metadata(key) for key in store.keys(analysis="profile", task="summary")]
    return any(set(task.models) <= set(item["models"]) for item in summaries)
