"""Records as series: the values of a machine, model, metric and conditions over the commits, with change points.

An event is a change point with the commits that may have caused it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from stmbench.history.change_points import ChangePoint, Fit, Floats, detect, detect_exact
from stmbench.history.metrics import PROBE, TrackedMetric, is_worse, tracked_metrics
from stmbench.history.metrics import metric as tracked_metric
from stmbench.history.record import Record, RecordFacts, SeriesKey, Summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """The values of one key over the commits of a machine, in base units; NaN if a record has none."""

    key: SeriesKey
    values: Floats  # (commits,)
    low: Floats  # (commits,) ends of the 95 % interval
    high: Floats
    by_probe: bool  # corrected to the machine's usual speed
    fit: Fit  # levels and change points in base units

    @property
    def metric(self) -> TrackedMetric:
        """How the metric is tracked."""
        return tracked_metric(self.key.metric)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineSeries:
    """All series of one machine."""

    machine: str
    facts: dict[str, Any]
    commits: tuple[RecordFacts, ...]  # from the oldest to the newest
    series: tuple[Series, ...]
    mixers: dict[str, Any]  # mixer -> title, abbreviation, palette_slot
    unreadable: tuple[str, ...]  # parts that could not be read, each with its record
    failed: tuple[str, ...]  # what failed in the newest record


def machines_of(records: Iterable[Record]) -> list[MachineSeries]:
    """The series of every machine, with their change points.

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
    tables: dict[SeriesKey, Floats] = {}
    mixers: dict[str, Any] = {}
    for position, summary in enumerate(summaries):
        mixers |= summary.mixers
        for key, *numbers in summary.values:
            if key not in tables:
                tables[key] = np.full((3, len(records)), np.nan)
            tables[key][:, position] = numbers
    probes = {_setting(key): table[0] for key, table in tables.items() if key.metric == PROBE}
    listed = [_series(key, table, probes.get(_setting(key))) for key, table in tables.items() if key.model]
    order = tracked_metrics()
    listed.sort(key=lambda series: (order.index(series.key.metric), *map(str, series.key)))
    return MachineSeries(
        machine=machine,
        facts=records[-1].facts.machine_facts,
        commits=tuple(record.facts for record in records),
        series=tuple(listed),
        mixers=mixers,
        unreadable=tuple(_unreadable(records, summaries)),
        failed=tuple(f"{item.model}: {item.reason}" for item in summaries[-1].failures if item.status == "failed"),
    )


def _unreadable(records: list[Record], summaries: list[Summary]) -> Iterable[str]:
    for record, summary in zip(records, summaries, strict=True):
        for part, reason in summary.unreadable:
            yield f"{part} of commit {record.facts.commit[:12]}: {reason}"


def _setting(key: SeriesKey) -> tuple[Any, ...]:
    """What a probe shares with the speeds that were measured alongside it."""
    return (key.definition, key.device, key.dtype, key.compile, key.resolution)


def _series(key: SeriesKey, table: Floats, probe: Floats | None) -> Series:
    metric = tracked_metric(key.metric)
    known = np.isfinite(table[0])
    by_probe = metric.by_probe and probe is not None and bool(np.all(probe[known] > 0))
    if by_probe:
        assert probe is not None
        # the machine's speed at that time, relative to its usual speed; times scale inversely
        speed = probe / np.median(probe[known])
        table = table / speed if metric.better == "higher" else table * speed
    return Series(key=key, values=table[0], low=table[1], high=table[2], by_probe=by_probe, fit=fit(metric, table[0]))


def fit(metric: TrackedMetric, values: Floats) -> Fit:
    """Levels and change points of a metric's series, in its base unit; `noise` of a relative metric is a share."""
    if metric.exact:
        return detect_exact(values)
    if not metric.relative:
        return detect(values, smallest=metric.smallest)
    positive = np.where(values > 0, values, np.nan)
    log_fit = detect(np.log(positive), smallest=float(np.log1p(metric.smallest)))
    change_points = tuple(
        dataclasses.replace(point, before=float(np.exp(point.before)), after=float(np.exp(point.after)))
        for point in log_fit.change_points
    )
    return dataclasses.replace(log_fit, levels=tuple(np.exp(log_fit.levels).tolist()), change_points=change_points)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """A change point of one series."""

    machine: str
    series: Series
    change_point: ChangePoint
    commit: RecordFacts  # the first measured commit after it
    suspects: tuple[RecordFacts, ...]  # commits that may have caused it, including unmeasured ones
    worse: bool | None  # None if the metric has no preferred direction

    @property
    def ratio(self) -> float:
        """after / before; NaN if it was 0 before."""
        point = self.change_point
        return point.after / point.before if point.before else float("nan")


def events_of(machine: MachineSeries) -> list[Event]:
    """All change points of a machine's series, the newest commit first."""
    events = [event for series in machine.series for event in _of_series(machine, series)]
    return sorted(events, key=lambda event: -event.change_point.position)


def _of_series(machine: MachineSeries, series: Series) -> Iterator[Event]:
    measured = np.flatnonzero(np.isfinite(series.values))
    for point in series.fit.change_points:
        before = measured[measured < point.earliest][-1]  # the last one that surely lies before
        yield Event(
            machine=machine.machine,
            series=series,
            change_point=point,
            commit=machine.commits[point.position],
            suspects=machine.commits[before + 1 : point.latest + 1],
            worse=is_worse(series.key.metric, point.before, point.after),
        )
