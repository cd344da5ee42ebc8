"""Records chosen from a history: the two of a comparison, and those old enough to be pruned."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path

from stmbench.errors import ConfigError, UnknownNameError
from stmbench.history.folder import History
from stmbench.history.record import Record

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
    bases, heads = _by_machine(records, base), _by_machine(records, head)
    both = [name for name in machines if name in bases and name in heads and machine in (None, name)]
    if not both:
        got = f"{base} on {', '.join(bases)} and {head} on {', '.join(heads)}"
        raise ConfigError("a machine that measured both commits", got, "add the missing record, or change --machine")
    if len(both) > 1:
        raise ConfigError("one machine that measured both commits", ", ".join(both), "choose one with --machine")
    return bases[both[0]].folder, heads[both[0]].folder


def _by_machine(records: list[Record], commit: str) -> dict[str, Record]:
    """machine -> the record of the only commit that starts with these digits."""
    found = [
        record for record in records if record.facts.commit.startswith(commit.lower()) and len(commit) >= FEWEST_DIGITS
    ]
    commits = dict.fromkeys(record.facts.commit for record in found)
    if not commits:
        known = {record.facts.commit[:12] for record in records}
        raise UnknownNameError(f"commit of the history (at least {FEWEST_DIGITS} digits)", commit, known)
    if len(commits) > 1:
        several = ", ".join(name[:12] for name in commits)
        raise ConfigError("the digits of one commit", f"{commit}: {several}", "give more")
    return {record.facts.machine: record for record in found}


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
