"""Facts about a commit: what the user gives, else what git says."""

from __future__ import annotations

import dataclasses
import datetime
import re
import subprocess
from pathlib import Path

from stmbench.errors import ConfigError, printable

SHA = re.compile(r"[0-9a-f]{7,64}")
SUBJECT_LENGTH = 200
GIT_SECONDS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit as a history knows it."""

    sha: str
    parents: tuple[str, ...] = ()
    date: datetime.datetime | None = None  # the committer's; None where git does not know the commit
    subject: str = ""

    def __post_init__(self) -> None:
        if not SHA.fullmatch(self.sha):
            raise ConfigError(
                "a commit (7 or more hex digits, or a name that git knows)",
                repr(self.sha),
                "change --commit, or name the checkout with --repository",
            )


def find(name: str, repository: Path) -> Commit:
    """The commit `name` (a SHA, HEAD, a branch or a tag), with its facts where `repository` has it.

    Raises ConfigError where git does not know it and it is no SHA.
    """
    told = _git(repository, "log", "-1", "--format=%H%x00%P%x00%cI%x00%s", "--end-of-options", name, "--")
    if told is None:
        return Commit(sha=name.lower())
    sha, parents, date, subject = told.rstrip("\n").split("\0")
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        date=datetime.datetime.fromisoformat(date.replace("Z", "+00:00")),
        subject=one_line(subject),
    )


def one_line(text: str) -> str:
    """Text on one line, with control characters escaped, and not endless."""
    return printable(" ".join(text.split()))[:SUBJECT_LENGTH]


def parse_date(text: str, option: str) -> datetime.datetime:
    """An ISO 8601 date or time, UTC where it names no zone. Raises ConfigError, naming the option."""
    try:
        date = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ConfigError(
            "a date such as 2026-11-21 or 2026-11-21T07:22:55+00:00", repr(text), f"change {option}"
        ) from error
    return date if date.tzinfo else date.replace(tzinfo=datetime.timezone.utc)


def _git(repository: Path, *arguments: str) -> str | None:
    """What git prints; None where it is missing, or knows no such thing."""
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
