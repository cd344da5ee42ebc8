"""Records as series: for each machine, model, metric and conditions the values of its commits, and their steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from stmbench.history.metrics import METRICS, PROBE, Metric
from stmbench.history.record import Facts, Record
from stmbench.history.steps import Fit, Floats, changes, detect
from stmbench.history.values import Subject, Summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One subject's values over the commits of a machine, in base units; NaN where a record has none."""

    subject: Subject
    values: Floats  # (commits,)
    low: Floats  # (commits,) ends of the 95 % interval
    high: Floats
    by_probe: bool  # corrected to the machine's usual speed
    fit: Fit  # its levels and steps are in base units

    @property
    def metric(self) -> Metric:
        """How the metric is read."""
        return METRICS[self.subject.metric]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineSeries:
    """All series of one machine."""

    machine: str
    facts: dict[str, Any]
    commits: tuple[Facts, ...]  # from the oldest to the newest
    series: tuple[Series, ...]
    mixers: dict[str, Any]  # mixer -> title, abbreviation, palette_slot
    unreadable: tuple[str, ...]  # parts that could not be read, each with its record
    failed: tuple[str, ...]  # what failed in the newest record


def machines_of(records: Iterable[Record]) -> list[MachineSeries]:
    """The series of every machine, with their steps.

    Args:
        records: as `History.records` gives them.

    Raises:
        TableError: a record whose parts this version cannot read.
    """
    by_machine: dict[str, list[Record]] = {}
    for record in records:
        by_machine.setdefault(record.facts.machine, []).append(record)
    return [_of_machine(machine, own) for machine, own in by_machine.items()]


def _of_machine(machine: str, records: list[Record]) -> MachineSeries:
    summaries = [record.summary() for record in records]
    tables: dict[Subject, Floats] = {}
    mixers: dict[str, Any] = {}
    for position, summary in enumerate(summaries):
        mixers |= summary.mixers
        for subject, *numbers in summary.values:
            if subject not in tables:
                tables[subject] = np.full((3, len(records)), np.nan)
            tables[subject][:, position] = numbers
    probes = {_setting(subject): table[0] for subject, table in tables.items() if subject.metric == PROBE}
    found = [
        _series(subject, table, probes.get(_setting(subject))) for subject, table in tables.items() if subject.model
    ]
    order = list(METRICS)
    found.sort(key=lambda series: (order.index(series.subject.metric), *map(str, series.subject)))
    return MachineSeries(
        machine=machine,
        facts=records[-1].facts.machine_facts,
        commits=tuple(record.facts for record in records),
        series=tuple(found),
        mixers=mixers,
        unreadable=tuple(_unreadable(records, summaries)),
        failed=tuple(f"{item.model}: {item.reason}" for item in summaries[-1].failures if item.status == "failed"),
    )


def _unreadable(records: list[Record], summaries: list[Summary]) -> Iterable[str]:
    for record, summary in zip(records, summaries, strict=True):
        for part, reason in summary.unreadable:
            yield f"{part} of commit {record.facts.commit[:12]}: {reason}"


def _setting(subject: Subject) -> tuple[Any, ...]:
    """What a probe shares with the speeds that were measured beside it."""
    return (subject.definition, subject.device, subject.dtype, subject.compile, subject.resolution)


def _series(subject: Subject, table: Floats, probe: Floats | None) -> Series:
    metric = METRICS[subject.metric]
    known = np.isfinite(table[0])
    by_probe = metric.by_probe and probe is not None and bool(np.all(probe[known] > 0))
    if by_probe:
        assert probe is not None
        # the machine's speed then over its usual speed; time goes the other way
        speed = probe / np.median(probe[known])
        table = table / speed if metric.better == "higher" else table * speed
    return Series(
        subject=subject, values=table[0], low=table[1], high=table[2], by_probe=by_probe, fit=fit(metric, table[0])
    )


def fit(metric: Metric, values: Floats) -> Fit:
    """Levels and steps of a metric's series, in its base unit; `noise` of a relative metric is a share."""
    if metric.exact:
        return changes(values)
    if not metric.relative:
        return detect(values, smallest=metric.smallest)
    positive = np.where(values > 0, values, np.nan)
    found = detect(np.log(positive), smallest=float(np.log1p(metric.smallest)))
    steps = [
        dataclasses.replace(step, before=float(np.exp(step.before)), after=float(np.exp(step.after)))
        for step in found.steps
    ]
    return dataclasses.replace(found, levels=tuple(np.exp(found.levels).tolist()), steps=tuple(steps))
