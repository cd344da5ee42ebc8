"""From a store to records: whose parts they are, and a copy of them that is there as a whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stmbench.errors import OutputError, TableError
from stmbench.history.commits import Commit
from stmbench.history.folder import History
from stmbench.history.record import MACHINE, Facts, write_facts, write_summary
from stmbench.history.values import Summary, summarise
from stmbench.tables import Store
from stmbench.tables.parts import UnreadablePart

UTC = datetime.timezone.utc
Find = Callable[[str], Commit]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Added:
    """What became of a store on one machine."""

    folder: Path
    facts: Facts
    summary: Summary
    unreadable: tuple[UnreadablePart, ...]  # parts that were left behind
    others: int  # parts of the store that another commit's record holds, or will


def add(
    store: Store,
    history: History,
    *,
    find: Find,
    commit: str | None = None,
    date: datetime.datetime | None = None,
    subject: str | None = None,
    replace: bool = False,
) -> list[Added]:
    """Copy a store's parts into a history, one record a machine.

    Args:
        find: tells the facts of a commit's name.
        commit: whose parts to take. If no part names it, nor another that `find` knows, all are taken to be of it: they
            name the commit of stmbench then, and this is one of the user's own. Default: the one that they name.
        date, subject: instead of what `find` knows; without any date, the time of the last measurement.

    Raises:
        TableError: no store, an empty one, parts of several commits or of none, a newer schema, a record that is there
            already. OutputError: the history cannot be written.
    """
    frame = store.read()
    keys = store.keys()
    parts = {key: store.metadata(key) for key in keys}
    if not parts:
        left = "".join(f"; {part}: {reason}" for part, reason in frame.attrs["unreadable"][:1])
        raise TableError(
            "a store with a part that can be read", f"none in {store.folder}{left}", "measure something first"
        )
    found = find(commit if commit is not None else _only_commit(parts, store))
    of_it = {key: facts for key, facts in parts.items() if facts.get("commit") == found.sha}
    if not of_it:
        _require_foreign(parts, found, find)
    machines: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, part in (of_it or parts).items():
        machines[str(part.get("machine_id") or "unknown")][key] = part
    unreadable = tuple(frame.attrs["unreadable"])
    for machine in machines:
        if not MACHINE.fullmatch(machine):
            raise TableError("a machine's identifier of letters and digits", repr(machine), "measure the store again")
        if not replace:
            history.require_free(machine, found.sha)
    history.create()
    added = []
    for machine, chosen in sorted(machines.items()):
        rows = frame if len(chosen) == len(parts) else store.read(chosen)
        last = rows["created_utc"].max().to_pydatetime()
        facts = Facts(
            commit=found.sha,
            parents=found.parents,
            date=(date or found.date or last).astimezone(UTC).replace(microsecond=0),
            subject=found.subject if subject is None else subject,
            machine=machine,
            machine_facts=next(
                (part["machine"] for part in chosen.values() if isinstance(part.get("machine"), dict)), {}
            ),
            changed=any(bool((part.get("software") or {}).get("dirty")) for part in chosen.values()),
            added=datetime.datetime.now(UTC).replace(microsecond=0),
        )
        rows.attrs["unreadable"] = list(unreadable)
        summary = summarise(rows)
        folder = _copy(store, list(chosen), history, facts, summary)
        added.append(
            Added(
                folder=folder,
                facts=facts,
                summary=summary,
                unreadable=unreadable,
                others=len(parts) - len(of_it or parts),
            )
        )
    return added


def _only_commit(parts: dict[str, dict[str, Any]], store: Store) -> str:
    commits = sorted({str(facts["commit"]) for facts in parts.values() if facts.get("commit")})
    if len(commits) == 1:
        return commits[0]
    if commits:
        got = f"{len(commits)}: {', '.join(sha[:12] for sha in commits[:4])}"
        raise TableError(f"parts of one commit in {store.folder}", got, "say with --commit which to add")
    raise TableError(
        f"parts in {store.folder} that say their commit",
        "none (stmbench did not run from a checkout)",
        "give --commit, for example --commit HEAD",
    )


def _require_foreign(parts: dict[str, dict[str, Any]], wanted: Commit, find: Find) -> None:
    """Refuse parts that name another commit of the same repository: they are not of the one that was asked for."""
    for sha in sorted({str(facts["commit"]) for facts in parts.values() if facts.get("commit")}):
        if find(sha).date is not None:
            raise TableError(
                f"parts of commit {wanted.sha[:12]}",
                f"parts of {sha[:12]}",
                "leave --commit out, or measure that commit",
            )


def _copy(store: Store, keys: list[str], history: History, facts: Facts, summary: Summary) -> Path:
    scratch = history.scratch(facts.machine)
    try:
        parts = scratch / "parts"
        parts.mkdir()
        for key in keys:  # the part, and the arrays that its rows name
            for file in sorted(store.parts.glob(f"{key}.*")):
                shutil.copyfile(file, parts / file.name)
        write_facts(scratch, facts)
        write_summary(scratch, summary)
        return history.put(scratch, facts)
    except OSError as error:
        reason = f"{facts.machine} ({error.strerror or error})"
        raise OutputError("to copy the parts into the history", reason, "free space and run it again") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
