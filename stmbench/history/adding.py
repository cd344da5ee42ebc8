"""`stmbench history add`: a store's parts, copied into a history as records of their commit and machine."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stmbench.errors import ConfigError, OutputError, TableError, printable
from stmbench.history.folder import History
from stmbench.history.record import MACHINE, RecordFacts, Summary, summarise, write_facts, write_summary
from stmbench.tables import Store
from stmbench.tables.parts import UnreadablePart

SHA = re.compile(r"[0-9a-f]{7,64}")
SUBJECT_LENGTH = 200
GIT_SECONDS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit and what git knows of it."""

    sha: str
    parents: tuple[str, ...] = ()
    date: datetime.datetime | None = None  # the committer's; None if git does not know the commit
    subject: str = ""
    url: str | None = None  # of a commit's page, with {commit} for its SHA

    def __post_init__(self) -> None:
        if not SHA.fullmatch(self.sha):
            raise ConfigError(
                "a commit (7 or more hex digits, or a name that git knows)",
                repr(self.sha),
                "change --commit, or name the checkout with --repository",
            )


def find(name: str, repository: Path) -> Commit:
    """The commit `name` (a SHA, HEAD, a branch or a tag), with its facts if `repository` has it.

    Raises ConfigError if git does not know it and it is no SHA.
    """
    output = _git(repository, "log", "-1", "--format=%H%x00%P%x00%cI%x00%s", "--end-of-options", name, "--")
    if output is None:
        return Commit(sha=name.lower())
    sha, parents, date, subject = output.rstrip("\n").split("\0")
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        date=datetime.datetime.fromisoformat(date.replace("Z", "+00:00")),
        subject=one_line(subject),
        url=commit_url(_git(repository, "remote", "get-url", "origin") or ""),
    )


# a word of a remote's host -> where it shows commits
PAGES = {"github": "commit", "codeberg": "commit", "gitea": "commit", "gitlab": "-/commit", "bitbucket": "commits"}
_REMOTES = (
    re.compile(r"(?:https?|ssh|git)://(?:[^@/]*@)?(?P<host>[\w.-]+)(?::\d+)?/(?P<path>[\w.~/+-]+)"),
    re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+\.\w+):(?P<path>[\w.~/+-]+)"),
)


def commit_url(remote: str) -> str | None:
    """The URL of a commit's page, with {commit} for its SHA; None for hosts that are not known.

    Users, passwords and tokens of the remote's URL are left out.
    """
    for pattern in _REMOTES:
        if found := pattern.fullmatch(remote.strip()):
            page = next((PAGES[word] for word in found["host"].lower().split(".") if word in PAGES), None)
            path = found["path"].strip("/").removesuffix(".git")
            return None if page is None else f"https://{found['host'].lower()}/{path}/{page}/{{commit}}"
    return None


def one_line(text: str) -> str:
    """Text on one line, with control characters escaped, truncated."""
    return printable(" ".join(text.split()))[:SUBJECT_LENGTH]


def parse_date(text: str, option: str) -> datetime.datetime:
    """An ISO 8601 date or time, UTC unless it names a zone. Raises ConfigError, naming the option."""
    try:
        date = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ConfigError(
            "a date such as 2026-11-21 or 2026-11-21T07:22:55+00:00", repr(text), f"change {option}"
        ) from error
    return date if date.tzinfo else date.replace(tzinfo=datetime.timezone.utc)


def _git(repository: Path, *arguments: str) -> str | None:
    """What git prints; None if git is missing or fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


UTC = datetime.timezone.utc
Find = Callable[[str], Commit]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Added:
    """The record that was made of a store's parts from one machine."""

    folder: Path
    facts: RecordFacts
    summary: Summary
    unreadable: tuple[UnreadablePart, ...]  # parts that were skipped
    others: int  # parts of the store that belong to other commits


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
    """Copy a store's parts into a history, one record per machine.

    Args:
        find: looks a commit up by name.
        commit: whose parts to take. If the parts name neither it nor any commit that `find` knows, all are taken: they
            then name a commit of stmbench, while this one is of the user's own repository. Default: the one commit
            that the parts name.
        date, subject: override what `find` knows; without any date, the time of the last measurement.

    Raises:
        TableError: no store, an empty one, parts of several commits or of none, a newer schema, a record that already
            exists. OutputError: the history cannot be written.
    """
    frame = store.read()
    keys = store.keys()
    parts = {key: store.metadata(key) for key in keys}
    if not parts:
        left = "".join(f"; {part}: {reason}" for part, reason in frame.attrs["unreadable"][:1])
        raise TableError(
            "a store with a part that can be read", f"none in {store.folder}{left}", "measure something first"
        )
    known = find(commit if commit is not None else _only_commit(parts, store))
    of_it = {key: facts for key, facts in parts.items() if facts.get("commit") == known.sha}
    if not of_it:
        _require_foreign(parts, known, find)
    machines: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, part in (of_it or parts).items():
        machines[str(part.get("machine_id") or "unknown")][key] = part
    unreadable = tuple(frame.attrs["unreadable"])
    for machine in machines:
        if not MACHINE.fullmatch(machine):
            raise TableError("a machine's identifier of letters and digits", repr(machine), "measure the store again")
        if not replace:
            history.require_free(machine, known.sha)
    history.create()
    added = []
    for machine, chosen in sorted(machines.items()):
        rows = frame if len(chosen) == len(parts) else store.read(chosen)
        last = rows["created_utc"].max().to_pydatetime()
        facts = RecordFacts(
            commit=known.sha,
            parents=known.parents,
            date=(date or known.date or last).astimezone(UTC).replace(microsecond=0),
            subject=known.subject if subject is None else subject,
            machine=machine,
            machine_facts=next(
                (part["machine"] for part in chosen.values() if isinstance(part.get("machine"), dict)), {}
            ),
            changed=any(bool((part.get("software") or {}).get("dirty")) for part in chosen.values()),
            added=datetime.datetime.now(UTC).replace(microsecond=0),
            commit_url=known.url,
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
        raise TableError(f"parts of one commit in {store.folder}", got, "choose one with --commit")
    raise TableError(
        f"parts in {store.folder} that say their commit",
        "none (stmbench did not run from a checkout)",
        "give --commit, for example --commit HEAD",
    )


def _require_foreign(parts: dict[str, dict[str, Any]], wanted: Commit, find: Find) -> None:
    """Refuse parts that name another commit of the same repository."""
    for sha in sorted({str(facts["commit"]) for facts in parts.values() if facts.get("commit")}):
        if find(sha).date is not None:
            raise TableError(
                f"parts of commit {wanted.sha[:12]}",
                f"parts of {sha[:12]}",
                "leave --commit out, or measure that commit",
            )


def _copy(store: Store, keys: list[str], history: History, facts: RecordFacts, summary: Summary) -> Path:
    scratch = history.scratch(facts.machine)
    try:
        parts = scratch / "parts"
        parts.mkdir()
        for key in keys:  # the part, and the arrays that its rows name
            for name, content in store.contents(key).items():
                (parts / name).write_bytes(content)
        write_facts(scratch, facts)
        write_summary(scratch, summary)
        return history.put(scratch, facts)
    except OSError as error:
        reason = f"{facts.machine} ({error.strerror or error})"
        raise OutputError("to copy the parts into the history", reason, "free space and run it again") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
