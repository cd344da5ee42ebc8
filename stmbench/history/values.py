"""What a history keeps of a table: one value per model, metric and conditions, small enough to read a thousand of."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final, NamedTuple

import pandas as pd

from stmbench.history.metrics import BY_LEVEL, CONDITIONS, METRICS, PROBE
from stmbench.tables.parts import UnreadablePart

NUMBERS: Final = ("value", "ci_low", "ci_high")
WITHIN: Final = ("block", "head", "position", "step", "baseline")  # rows about less than a model, or about two


class Subject(NamedTuple):
    """What a series is a series of. Weights count by their source: training again is a commit's doing."""

    model: str | None  # None: the machine
    mixer: str | None
    metric: str
    unit: str
    analysis: str
    definition: str
    weights: str | None
    dataset: str | None
    split: str | None
    device: str | None
    dtype: str | None
    compile: bool | None
    resolution: str | None
    batch_size: int | None
    stage: int | None
    condition: str | None
    level: float | None


class Value(NamedTuple):
    """One value of a subject in one record, with its 95 % interval; NaN where there is none."""

    subject: Subject
    value: float
    low: float
    high: float


class Failure(NamedTuple):
    """Rows of one model that hold no value, with the first reason."""

    model: str
    status: str
    reason: str
    times: int


class Summary(NamedTuple):
    """All that a dashboard needs of one record's parts."""

    values: tuple[Value, ...]
    failures: tuple[Failure, ...]
    mixers: dict[str, Any]  # mixer -> title, abbreviation, palette_slot
    unreadable: tuple[UnreadablePart, ...]


def summarise(frame: pd.DataFrame) -> Summary:
    """The followed values of a store's table (`Store.read`); of a subject measured twice, the later one."""
    near = (frame["kind"] == "summary") & frame["value"].notna() & frame["metric"].isin([*METRICS, PROBE])
    columns = {name: frame[name][near].tolist() for name in (*Subject._fields, *NUMBERS, *WITHIN)}
    found: dict[Subject, Value] = {}
    for cells in zip(*columns.values(), strict=True):
        row: dict[str, Any] = {name: None if pd.isna(cell) else cell for name, cell in zip(columns, cells, strict=True)}
        if not _is_followed(row):
            continue
        if row["weights"]:
            row["weights"] = row["weights"].partition(":")[0]
        subject = Subject(**{name: row[name] for name in Subject._fields})
        found[subject] = Value(subject, *(math.nan if row[name] is None else row[name] for name in NUMBERS))
    failed = frame[frame["status"].isin(("failed", "skipped")) & frame["model"].notna()]
    counts = Counter(zip(failed["model"], failed["status"], strict=True))
    first = failed.drop_duplicates(["model", "status"])
    reasons = zip(first["model"], first["status"], first["reason"], strict=True)
    failures = [Failure(model, status, reason, counts[model, status]) for model, status, reason in reasons]
    return Summary(
        values=tuple(found.values()),
        failures=tuple(failures),
        mixers=dict(frame.attrs["mixers"]),
        unreadable=tuple(frame.attrs["unreadable"]),
    )


def _is_followed(row: dict[str, Any]) -> bool:
    if any(row[name] is not None for name in WITHIN):
        return False
    if row["model"] is None:
        return bool(row["metric"] == PROBE)
    at_level = row["level"] is None or row["metric"].endswith("_auc") or row["analysis"] in BY_LEVEL
    return row["metric"] != PROBE and at_level and CONDITIONS.get(row["metric"], row["condition"]) == row["condition"]


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as JSON can hold it; see `from_json`."""
    return {
        "subjects": [list(value.subject) for value in summary.values],
        "values": [[None if math.isnan(x) else x for x in value[1:]] for value in summary.values],
        "failures": [list(failure) for failure in summary.failures],
        "mixers": summary.mixers,
        "unreadable": [list(part) for part in summary.unreadable],
    }


def from_json(stored: dict[str, Any]) -> Summary:
    """The summary again. Raises KeyError, TypeError or ValueError where it is not one."""
    pairs = zip(stored["subjects"], stored["values"], strict=True)
    return Summary(
        values=tuple(
            Value(_subject(subject), *(math.nan if x is None else float(x) for x in numbers))
            for subject, numbers in pairs
        ),
        failures=tuple(Failure(*failure) for failure in stored["failures"]),
        mixers=dict(stored["mixers"]),
        unreadable=tuple(UnreadablePart(*part) for part in stored["unreadable"]),
    )


def _subject(stored: list[Any]) -> Subject:
    """The subject; its resolution was a number in summaries of older versions."""
    subject = Subject(*stored)
    side: Any = subject.resolution
    return subject._replace(resolution=str(side)) if isinstance(side, int) else subject
