"""A task: units of work that are planned, done and retried together. It is data alone, so it travels to any process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from stmbench.analyses.unit import Counted
from stmbench.experiments.steps import Step
from stmbench.training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Training of one run, where `step` is None, or one analysis of models.

    Attributes:
        runs: the run to train; or those whose weights the models take, one for each model, none for other weights.
        files: model -> checkpoint, for weights that the user has.
        epoch: of training, for weights of another epoch than the last.
        needs: names of the tasks that have to be done before.
        alone: nothing else may run on this machine meanwhile.
        missing: what this machine lacks for it, in words, with the remedy.
    """

    name: str
    step: Step | None
    models: tuple[str, ...]
    seed: int
    runs: tuple[TrainingSettings, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    epoch: int | None = None
    dataset: str = "photos"
    split: str = "test"
    device: str = "cpu"
    control: str | None = None
    plugins: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    alone: bool = False
    missing: str | None = None
    fresh: bool = False  # measured again, whatever the store has

    @property
    def title(self) -> str:
        """What it is, without its models."""
        return "train" if self.step is None else self.step.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskResult(Counted):
    """What doing a task gave."""

    name: str
    made: tuple[str, ...]  # keys of the units of work that it measured
    reused: tuple[str, ...]  # of those that the store had: from before the run, or from another task of it
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    keys: tuple[str, ...]  # of the parts it stands on
    seconds: float
