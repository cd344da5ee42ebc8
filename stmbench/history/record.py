"""A record: what was measured of one commit on one machine, a store with two small files next to its parts.

<history>/<machine>/<date>-<sha>/record.json     which commit, which machine
<history>/<machine>/<date>-<sha>/summary.json    the tracked values, read from the parts; rebuilt if lost
<history>/<machine>/<date>-<sha>/parts/          the store

A summary holds one value per model, metric and conditions: small enough to read a thousand of them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from stmbench.errors import OutputError, TableError
from stmbench.history.metrics import PROBE, has_series_by_level, is_tracked_condition, tracked_metrics
from stmbench.tables import Store
from stmbench.tables.files import write_file
from stmbench.tables.parts import UnreadablePart
from stmbench.tables.rows import printable_in

NUMBERS: Final = ("value", "ci_low", "ci_high")
WITHIN: Final = ("block", "head", "position", "step", "baseline")  # rows about part of a model, or about two models


class SeriesKey(NamedTuple):
    """What identifies a series. Weights count by their source, without the hash: retraining continues the series."""

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
    """One value of a series in one record, with its 95 % interval; NaN if missing."""

    key: SeriesKey
    value: float
    low: float
    high: float


class Failure(NamedTuple):
    """Rows of one model without a value, with the first reason."""

    model: str
    status: str
    reason: str
    times: int


class Summary(NamedTuple):
    """Everything a dashboard needs from one record's parts."""

    values: tuple[Value, ...]
    failures: tuple[Failure, ...]
    mixers: dict[str, Any]  # mixer -> title, abbreviation, palette_slot
    unreadable: tuple[UnreadablePart, ...]


def summarise(frame: pd.DataFrame) -> Summary:
    """The tracked values of a store's table (`Store.read`); of repeated measurements the latest."""
    relevant = (frame["kind"] == "summary") & frame["value"].notna() & frame["metric"].isin([*tracked_metrics(), PROBE])
    columns = {name: frame[name][relevant].tolist() for name in (*SeriesKey._fields, *NUMBERS, *WITHIN)}
    values: dict[SeriesKey, Value] = {}
    for cells in zip(*columns.values(), strict=True):
        row: dict[str, Any] = {name: None if pd.isna(cell) else cell for name, cell in zip(columns, cells, strict=True)}
        if not _is_tracked(row):
            continue
        if row["weights"]:
            row["weights"] = row["weights"].partition(":")[0]
        key = SeriesKey(**{name: row[name] for name in SeriesKey._fields})
        values[key] = Value(key, *(math.nan if row[name] is None else row[name] for name in NUMBERS))
    failed = frame[frame["status"].isin(("failed", "skipped")) & frame["model"].notna()]
    counts = Counter(zip(failed["model"], failed["status"], strict=True))
    first = failed.drop_duplicates(["model", "status"])
    reasons = zip(first["model"], first["status"], first["reason"], strict=True)
    failures = [Failure(model, status, reason, counts[model, status]) for model, status, reason in reasons]
    return Summary(
        values=tuple(values.values()),
        failures=tuple(failures),
        mixers=dict(frame.attrs["mixers"]),
        unreadable=tuple(frame.attrs["unreadable"]),
    )


def _is_tracked(row: dict[str, Any]) -> bool:
    if any(row[name] is not None for name in WITHIN):
        return False
    if row["model"] is None:
        return bool(row["metric"] == PROBE)
    if row["level"] is not None and not row["metric"].endswith("_auc") and not has_series_by_level(row["analysis"]):
        return False
    return row["metric"] != PROBE and is_tracked_condition(row["metric"], row["condition"])


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary for JSON; see `from_json`."""
    return {
        "subjects": [list(value.key) for value in summary.values],
        "values": [[None if math.isnan(x) else x for x in value[1:]] for value in summary.values],
        "failures": [list(failure) for failure in summary.failures],
        "mixers": summary.mixers,
        "unreadable": [list(part) for part in summary.unreadable],
    }


def from_json(stored: dict[str, Any]) -> Summary:
    """The summary from JSON. Raises KeyError, TypeError or ValueError if it is none."""
    pairs = zip(stored["subjects"], stored["values"], strict=True)
    return Summary(
        values=tuple(
            Value(_series_key(key), *(math.nan if x is None else float(x) for x in numbers)) for key, numbers in pairs
        ),
        failures=tuple(Failure(*failure) for failure in stored["failures"]),
        mixers=dict(stored["mixers"]),
        unreadable=tuple(UnreadablePart(*part) for part in stored["unreadable"]),
    )


def _series_key(stored: list[Any]) -> SeriesKey:
    """The key; its resolution was a number in summaries of older versions."""
    key = SeriesKey(*stored)
    side: Any = key.resolution
    return key._replace(resolution=str(side)) if isinstance(side, int) else key


VERSION: Final = 1  # of record.json and summary.json
RECORD, SUMMARY = "record.json", "summary.json"
MACHINE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")  # a folder's name


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordFacts:
    """The commit and the machine of a record."""

    commit: str
    parents: tuple[str, ...]
    date: datetime.datetime  # UTC
    subject: str
    machine: str  # its identifier
    machine_facts: dict[str, Any]
    changed: bool  # the checkout had uncommitted changes
    added: datetime.datetime
    commit_url: str | None = None  # of a commit's page, with {commit} for its SHA; from the checkout's remote

    @property
    def name(self) -> str:
        """The record's folder."""
        return f"{self.date:%Y%m%dT%H%M%SZ}-{self.commit[:12]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A record in its folder."""

    facts: RecordFacts
    folder: Path

    @property
    def store(self) -> Store:
        """The record's parts."""
        return Store(self.folder)

    def summary(self) -> Summary:
        """The tracked values: from summary.json, or from the parts if that is missing, outdated or damaged.

        Raises TableError for parts of a newer schema.
        """
        stamp = stamp_of(self.store)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = printable_in(json.loads((self.folder / SUMMARY).read_text(encoding="utf-8")))
            if (stored["version"], stored["parts"]) == (VERSION, stamp):
                return from_json(stored)
        made = summarise(self.store.read())
        with contextlib.suppress(OutputError):  # a read-only history can still be read
            write_summary(self.folder, made)
        return made


def stamp_of(store: Store) -> str:
    """A hash of the parts' names."""
    names = [f"{name}.parquet" for name in store.names()]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json. Raises OutputError."""
    _write(folder / SUMMARY, {"version": VERSION, "parts": stamp_of(Store(folder)), **as_json(summary)})


def write_facts(folder: Path, facts: RecordFacts) -> None:
    """Write record.json. Raises OutputError."""
    plain = {**dataclasses.asdict(facts), "date": facts.date.isoformat(), "added": facts.added.isoformat()}
    _write(folder / RECORD, {"version": VERSION, **plain})


def read_record(folder: Path) -> Record:
    """The record in a folder. Raises TableError if record.json is damaged or of a newer version."""
    path = folder / RECORD
    try:
        stored = printable_in(json.loads(path.read_text(encoding="utf-8")))
        version = int(stored.pop("version"))
        if version > VERSION:
            raise TableError(
                f"a record of version {VERSION} or older", f"version {version} in {path}", "update stmbench"
            )
        stored["parents"] = tuple(stored["parents"])
        stored |= {name: datetime.datetime.fromisoformat(stored[name]) for name in ("date", "added")}
        facts = RecordFacts(**stored)
        if facts.date.tzinfo is None or not isinstance(facts.machine_facts, dict):
            raise ValueError("its facts are damaged")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TableError(
            "a record that can be read", f"{path}, which is damaged", "remove its folder and add it again"
        ) from error
    return Record(facts=facts, folder=folder)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    write_file(path, text, remedy="free space or choose another")
