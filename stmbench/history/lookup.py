"""Two commits of a history by their first digits, measured on one machine."""

from __future__ import annotations

from pathlib import Path

from stmbench.errors import ConfigError, UnknownNameError
from stmbench.history.folder import History
from stmbench.history.record import Record

FEWEST = 4  # digits of a commit


def stores_of(history: History, base: str, head: str, machine: str | None = None) -> tuple[Path, Path]:
    """The stores of two commits.

    Args:
        base, head: commits, or at least their first FEWEST digits.
        machine: its identifier; None where one machine alone measured both.

    Raises:
        TableError: not a history. UnknownNameError: a machine or commit that is not there. ConfigError: digits that
            several commits begin with, several machines that measured both, or none.
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
    """machine -> the record of the one commit that begins so."""
    found = [record for record in records if record.facts.commit.startswith(commit.lower()) and len(commit) >= FEWEST]
    commits = dict.fromkeys(record.facts.commit for record in found)
    if not commits:
        known = {record.facts.commit[:12] for record in records}
        raise UnknownNameError(f"commit of the history (at least {FEWEST} digits)", commit, known)
    if len(commits) > 1:
        several = ", ".join(name[:12] for name in commits)
        raise ConfigError("the digits of one commit", f"{commit}: {several}", "give more")
    return {record.facts.machine: record for record in found}
