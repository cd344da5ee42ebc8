"""A history: a folder of records by machine and commit. Records are added and removed atomically, by a rename."""

from __future__ import annotations

import contextlib
import datetime
import heapq
import json
import os
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stmbench.errors import ConfigError, InputError, OutputError, TableError, UnknownNameError
from stmbench.history.record import RECORD, Record, RecordFacts, read_record

MARK: Final = "stmbench-history.json"  # marks a folder as a history, even an empty one
VERSION: Final = 1
STALE_AFTER_S: Final = 24 * 3600.0


class History:
    """The records of one folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def create(self) -> History:
        """Make the folder a history if it is missing or empty, and return self.

        Raises OutputError if something else is there, or it cannot be written.
        """
        mark = self.folder / MARK
        try:
            if mark.is_file():
                self.require()
                return self
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
                what = "a folder of other things" if self.folder.is_dir() else "a file"
                raise OutputError("a history, or an empty or new folder", f"{self.folder} ({what})", "change --history")
            self.folder.mkdir(parents=True, exist_ok=True)
            mark.write_text(json.dumps({"version": VERSION}) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(
                "a folder that can be written", f"{self.folder} ({error.strerror})", "change --history"
            ) from error
        return self

    def require(self) -> History:
        """Return self; raise TableError unless the folder is a history that this version can read."""
        if not (self.folder / MARK).is_file():
            what = "not one" if self.folder.is_dir() else "a file" if self.folder.exists() else "nothing there"
            raise TableError(
                "a history", f"{self.folder} ({what})", "make one with `stmbench history add STORE --history`"
            )
        try:
            version = int(json.loads((self.folder / MARK).read_text(encoding="utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TableError(
                "a history", f"{self.folder} ({MARK} is damaged)", f'write {{"version": {VERSION}}} into it'
            ) from error
        if version > VERSION:
            raise TableError(
                f"a history of version {VERSION}", f"version {version} in {self.folder}", "update stmbench"
            )
        return self

    def records(self) -> list[Record]:
        """All records, sorted by machine, then from the oldest commit to the newest.

        Raises TableError: not a history, a damaged record, two records for one commit and machine.
        """
        self.require()
        files = sorted(path for path in self.folder.glob(f"*/*/{RECORD}") if not path.parent.name.startswith("."))
        machines: dict[str, list[Record]] = defaultdict(list)
        seen: dict[tuple[str, str], Record] = {}
        for file in files:
            record = read_record(file.parent)
            facts = record.facts
            twin = seen.setdefault((facts.machine, facts.commit), record)
            if twin is not record:
                raise TableError(
                    f"one record for commit {facts.commit[:12]} and machine {facts.machine}",
                    f"two: {twin.folder.name} and {record.folder.name} in {record.folder.parent}",
                    "remove one of them, or add it again with --replace",
                )
            machines[facts.machine].append(record)
        return [record for machine in sorted(machines) for record in in_commit_order(machines[machine])]

    def require_free(self, machine: str, sha: str) -> None:
        """Raise TableError if there is a record for that commit and machine."""
        for twin in self._of_commit(machine, sha):
            raise TableError(
                f"no record yet for commit {sha[:12]} and machine {machine}",
                f"{twin.name} in {self.folder}",
                "give --replace to put the new one in its place",
            )

    def put(self, prepared: Path, facts: RecordFacts) -> Path:
        """Move a prepared record's folder (from `scratch`) to its place, replacing an older one of that commit.

        Raises OutputError if that fails; the older record is then unchanged.
        """
        place = self.folder / facts.machine / facts.name
        hidden: dict[Path, Path] = {}
        try:
            for twin in self._of_commit(facts.machine, facts.commit):
                hidden[twin] = _hide(twin)
            os.rename(prepared, place)
        except OSError as error:
            for twin, where in hidden.items():
                os.rename(where, twin)
            raise OutputError(f"to make {place}", error.strerror or str(error), "run it again") from error
        for where in hidden.values():
            shutil.rmtree(where, ignore_errors=True)
        return place

    def scratch(self, machine: str) -> Path:
        """A new hidden folder in which a record is prepared; stale ones of killed runs are removed."""
        home = self.folder / machine
        try:
            home.mkdir(parents=True, exist_ok=True)
            _remove_stale(home)
            folder = home / f".{secrets.token_hex(8)}.tmp"
            folder.mkdir()
        except OSError as error:
            raise OutputError(
                f"to write {home}", error.strerror or str(error), "free space or change --history"
            ) from error
        return folder

    def remove(self, record: Record) -> None:
        """Remove a record: hide it by a rename, then delete it. Raises OutputError."""
        try:
            _remove_stale(record.folder.parent)
            shutil.rmtree(_hide(record.folder))
        except OSError as error:
            raise OutputError(
                f"to remove {record.folder}", error.strerror or str(error), "make it writable and run again"
            ) from error
        with contextlib.suppress(OSError):  # the machine's folder is removed with its last record
            record.folder.parent.rmdir()

    def _of_commit(self, machine: str, sha: str) -> list[Path]:
        paths = (self.folder / machine).glob(f"[!.]*-{sha[:12]}/{RECORD}")
        return [path.parent for path in sorted(paths) if read_record(path.parent).facts.commit == sha]


def _remove_stale(home: Path) -> None:
    """Remove folders that killed runs left a day ago or earlier."""
    for left in home.glob(".*.tmp"):
        if time.time() - left.stat().st_mtime > STALE_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)


def _hide(folder: Path) -> Path:
    hidden = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    os.rename(folder, hidden)
    return hidden


def in_commit_order(records: Iterable[Record]) -> list[Record]:
    """Records from the oldest commit to the newest: by date, but never a commit before its parent.

    Dates alone are not enough: committers' clocks differ, and a rebase gives many commits one date.
    """
    by_sha = {record.facts.commit: record for record in records}
    children: dict[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(by_sha, 0)
    for sha, record in by_sha.items():
        for parent in set(record.facts.parents) & by_sha.keys():
            children[parent].append(sha)
            waits[sha] += 1
    ready = [(by_sha[sha].facts.date, sha) for sha, count in waits.items() if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, sha = heapq.heappop(ready)
        ordered.append(by_sha[sha])
        for child in children[sha]:
            waits[child] -= 1
            if waits[child] == 0:
                heapq.heappush(ready, (by_sha[child].facts.date, child))
    if len(ordered) != len(by_sha):
        rest = sorted(sha[:12] for sha, count in waits.items() if count > 0)
        raise InputError("commits whose parents come first", f"a cycle of {', '.join(rest)}", "correct record.json")
    return ordered


FEWEST_DIGITS = 4  # of a commit


def stores_of(history: History, base: str, head: str, machine: str | None = None) -> tuple[Path, Path]:
    """The stores of two commits, measured on one machine.

    Args:
        base, head: commits, or at least their first FEWEST_DIGITS digits.
        machine: its identifier; may be None if only one machine measured both.

    Raises:
        TableError: not a history. UnknownNameError: an unknown machine or commit. ConfigError: digits that several
            commits start with; no machine or several that measured both.
    """
    records = history.records()
    machines = list(dict.fromkeys(record.facts.machine for record in records))
    if machine is not None and machine not in machines:
        raise UnknownNameError("machine of the history", machine, machines)
    bases, heads = _of_commit(records, base), _of_commit(records, head)
    both = [name for name in machines if name in bases and name in heads and machine in (None, name)]
    if not both:
        got = f"{base} on {', '.join(bases)} and {head} on {', '.join(heads)}"
        raise ConfigError("a machine that measured both commits", got, "add the missing record, or change --machine")
    if len(both) > 1:
        raise ConfigError("one machine that measured both commits", ", ".join(both), "choose one with --machine")
    return bases[both[0]].folder, heads[both[0]].folder


def _of_commit(records: list[Record], commit: str) -> dict[str, Record]:
    """machine -> the record of the only commit that starts with these digits."""
    matching = [
        record for record in records if record.facts.commit.startswith(commit.lower()) and len(commit) >= FEWEST_DIGITS
    ]
    commits = dict.fromkeys(record.facts.commit for record in matching)
    if not commits:
        known = {record.facts.commit[:12] for record in records}
        raise UnknownNameError(f"commit of the history (at least {FEWEST_DIGITS} digits)", commit, known)
    if len(commits) > 1:
        several = ", ".join(name[:12] for name in commits)
        raise ConfigError("the digits of one commit", f"{commit}: {several}", "give more")
    return {record.facts.machine: record for record in matching}


def old_records(
    records: Iterable[Record],
    *,
    keep: int | None = None,
    before: datetime.datetime | None = None,
    machine: str | None = None,
) -> list[Record]:
    """Records beyond the `keep` newest of their machine, or of commits before a date, in the given order.

    Args:
        records: of each machine from the oldest to the newest, as `History.records` gives them.

    Raises UnknownNameError for a machine without records.
    """
    by_machine: dict[str, list[Record]] = {}
    for record in records:
        by_machine.setdefault(record.facts.machine, []).append(record)
    if machine is not None and machine not in by_machine:
        raise UnknownNameError("machine of the history", machine, by_machine)
    chosen = []
    for name, own in by_machine.items():
        if machine is not None and name != machine:
            continue
        surplus = 0 if keep is None else max(0, len(own) - keep)
        chosen += [
            record
            for position, record in enumerate(own)
            if position < surplus or (before is not None and record.facts.date < before)
        ]
    return chosen
