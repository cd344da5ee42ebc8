"""Steps as events: which commits may have made them, and whether they are a loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from stmbench.history.metrics import is_worse
from stmbench.history.record import Facts
from stmbench.history.series import MachineSeries, Series
from stmbench.history.steps import Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """One step of one series."""

    machine: str
    series: Series
    step: Step
    commit: Facts  # the first one measured after it
    suspects: tuple[Facts, ...]  # commits that may have made it, those that were not measured included
    worse: bool | None  # None where the metric has no better or worse

    @property
    def ratio(self) -> float:
        """after / before; NaN where it was 0 before."""
        return self.step.after / self.step.before if self.step.before else float("nan")


def events_of(machine: MachineSeries) -> list[Event]:
    """All steps of a machine's series, the newest commit first."""
    found = [event for series in machine.series for event in _of_series(machine, series)]
    return sorted(found, key=lambda event: -event.step.position)


def _of_series(machine: MachineSeries, series: Series) -> Iterator[Event]:
    measured = np.flatnonzero(np.isfinite(series.values))
    for step in series.fit.steps:
        before = measured[measured < step.earliest][-1]  # the last one that is surely from before
        yield Event(
            machine=machine.machine,
            series=series,
            step=step,
            commit=machine.commits[step.position],
            suspects=machine.commits[before + 1 : step.latest + 1],
            worse=is_worse(series.subject.metric, step.before, step.after),
        )
