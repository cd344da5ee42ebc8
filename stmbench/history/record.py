"""One record: what was measured of one commit on one machine, a store with two small files beside its parts.

<history>/<machine>/<date>-<sha>/record.json     which commit, which machine
<history>/<machine>/<date>-<sha>/summary.json    the values a history follows, read from the parts; made again if lost
<history>/<machine>/<date>-<sha>/parts/          the store
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from stmbench.errors import OutputError, TableError
from stmbench.history.values import Summary, as_json, from_json, summarise
from stmbench.tables import Store
from stmbench.tables.printable import printable_in
from stmbench.tables.writing import write_file

VERSION: Final = 1  # of record.json and summary.json
RECORD, SUMMARY = "record.json", "summary.json"
MACHINE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")  # a folder's name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Which commit and which machine a record is of."""

    commit: str
    parents: tuple[str, ...]
    date: datetime.datetime  # UTC
    subject: str
    machine: str  # its identifier
    machine_facts: dict[str, Any]
    changed: bool  # the checkout held changes that are not in the commit
    added: datetime.datetime

    @property
    def name(self) -> str:
        """The record's folder."""
        return f"{self.date:%Y%m%dT%H%M%SZ}-{self.commit[:12]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A record in its folder."""

    facts: Facts
    folder: Path

    @property
    def store(self) -> Store:
        """The parts."""
        return Store(self.folder)

    def summary(self) -> Summary:
        """The followed values: from summary.json, or from the parts where that is missing, old or damaged.

        Raises:
            TableError: parts of a newer schema, or that break it.
        """
        stamp = stamp_of(self.store)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = printable_in(json.loads((self.folder / SUMMARY).read_text(encoding="utf-8")))
            if (stored["version"], stored["parts"]) == (VERSION, stamp):
                return from_json(stored)
        made = summarise(self.store.read())
        with contextlib.suppress(OutputError):  # a history that cannot be written can be read all the same
            write_summary(self.folder, made)
        return made


def stamp_of(store: Store) -> str:
    """Changes when a part comes or goes."""
    try:
        names = sorted(name for name in os.listdir(store.parts) if name.endswith(".parquet"))
    except OSError:
        names = []
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json. Raises OutputError."""
    _write(folder / SUMMARY, {"version": VERSION, "parts": stamp_of(Store(folder)), **as_json(summary)})


def write_facts(folder: Path, facts: Facts) -> None:
    """Write record.json. Raises OutputError."""
    plain = {**dataclasses.asdict(facts), "date": facts.date.isoformat(), "added": facts.added.isoformat()}
    _write(folder / RECORD, {"version": VERSION, **plain})


def read_record(folder: Path) -> Record:
    """The record in a folder. Raises TableError where record.json is damaged or of a newer version."""
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
        facts = Facts(**stored)
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
