"""Series for a dashboard, made up without a folder."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stmbench.history.record import Record, RecordFacts, SeriesKey, Summary, Value
from stmbench.history.series import MachineSeries, machines_of
from tests.history.stores import MACHINE, START, sha


class Measured(Record):
    """A record that holds its summary."""

    found: Summary

    def summary(self) -> Summary:
        return self.found


def series_key(metric: str = "throughput", model: str | None = "unified_dw_conv_micro", **columns: Any) -> SeriesKey:
    """A subject with what a profile says of it."""
    units = {"throughput": "images/s", "latency": "s", "params": "count", "macs": "MAC", "accuracy": "1",
             "probe_peak": "MAC/s"}  # fmt: skip
    known = dict.fromkeys(SeriesKey._fields) | {
        "model": model,
        "mixer": None if model is None else "dw_conv",
        "metric": metric,
        "unit": units[metric],
        "analysis": "profile",
        "definition": "profile.v2",
        "device": "cpu",
        "dtype": "fp32",
        "resolution": "224",
    }
    return SeriesKey(**{**known, **columns})


def record(number: int, values: Mapping[SeriesKey, float], *, machine: str = MACHINE, text: str = "") -> Record:
    """The record of a made-up commit; subjects whose value is NaN are not in it."""
    facts = RecordFacts(
        commit=sha(number),
        parents=(),
        date=START + datetime.timedelta(days=number),
        subject=text or f"Change {number}",
        machine=machine,
        machine_facts={"cpu": "AMD EPYC", "cores": 2},
        changed=False,
        added=START,
    )
    made = Measured(facts=facts, folder=Path("nowhere"))
    values_known = [Value(key, value, math.nan, math.nan) for key, value in values.items() if not math.isnan(value)]
    object.__setattr__(made, "found", Summary(values=tuple(values_known), failures=(), mixers={}, unreadable=()))
    return made


def machines(table: Mapping[SeriesKey, Sequence[float]], **options: Any) -> list[MachineSeries]:
    """The series of one machine from values by subject, one for each commit."""
    count = len(next(iter(table.values())))
    rows = ({key: float(values[number]) for key, values in table.items()} for number in range(count))
    return machines_of(record(number, row, **options) for number, row in enumerate(rows))


def noisy(*pairs: tuple[int, float], scale: float = 0.01, seed: int = 0) -> list[float]:
    """Levels, each for so many commits, with relative noise."""
    levels = np.concatenate([np.full(count, level) for count, level in pairs])
    return list(levels * (1 + np.random.default_rng(seed).normal(scale=scale, size=levels.size)))
