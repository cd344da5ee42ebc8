"""Functions of stores by commit: add, list, remove, and the dashboard of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmbench.api.analyses import in_python
from stmbench.api.stores import folder_of
from stmbench.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pandas as pd

    from stmbench.api.stores import StoreLike


def add_to_history(
    store: StoreLike,
    history: str | Path = "history",
    *,
    commit: str | None = None,
    date: str | None = None,
    subject: str | None = None,
    repository: str | Path = ".",
    replace: bool = False,
) -> list[Path]:
    """Copy a store into a history, as the record of a commit on the machine that measured it; returns the records.

    Args:
        history: the history's folder.
        commit: default: the one that the store's parts name.
        date: ISO 8601; default: git's, else of the last measurement.
        subject: of the commit; default: git's.
        repository: the checkout to ask about the commit.
        replace: put it in the place of an older record.
    """
    from stmbench.history import adding
    from stmbench.history.folder import History
    from stmbench.tables import Store

    try:
        done = adding.add(
            Store(folder_of(store)),
            History(Path(history)),
            find=lambda name: adding.find(name, Path(repository)),
            commit=commit,
            date=None if date is None else adding.parse_date(date, "--date"),
            subject=None if subject is None else adding.one_line(subject),
            replace=replace,
        )
    except InputError as error:
        raise in_python(error) from None
    return [item.folder for item in done]


def list_history(history: str | Path = "history", *, machine: str | None = None) -> pd.DataFrame:
    """The records of a history, newest first."""
    import pandas as pd

    from stmbench.history.folder import History

    records = [record for record in History(Path(history)).records() if machine in (None, record.facts.machine)]
    rows: list[Mapping[str, Any]] = [
        {
            "machine": record.facts.machine,
            "commit": record.facts.commit,
            "date": record.facts.date,
            "subject": record.facts.subject,
            "values": len(record.summary().values),
            "folder": record.folder,
        }
        for record in records[::-1]
    ]
    return pd.DataFrame(rows, columns=["machine", "commit", "date", "subject", "values", "folder"])


def prune_history(
    history: str | Path = "history",
    *,
    keep: int | None = None,
    before: str | datetime.date | None = None,
    machine: str | None = None,
    dry_run: bool = False,
) -> list[Path]:
    """Remove old records; returns their folders.

    Args:
        keep: remove all but this many newest of each machine.
        before: remove records of commits before this date.
        machine: of one machine only.
        dry_run: remove nothing.
    """
    from stmbench.history.adding import parse_date
    from stmbench.history.folder import History, old_records

    if keep is None and before is None:
        raise ConfigError("a rule for what to remove", "none", "give `keep` or `before`")
    place = History(Path(history))
    try:
        limit = None if before is None else parse_date(str(before), "--before")
        chosen = old_records(place.records(), keep=keep, before=limit, machine=machine)
    except InputError as error:
        raise in_python(error) from None
    for record in chosen:
        if not dry_run:
            place.remove(record)
    return [record.folder for record in chosen]


def dashboard(
    history: str | Path,
    out: str | Path = "reports/dashboard",
    *,
    title: str = "stmbench dashboard",
    commit_url: str | None = None,
    url: str | None = None,
) -> Mapping[str, Path]:
    """Draw every metric of every model over the commits; returns the page and the feed.

    Args:
        out: the site's folder.
        title: the page's title.
        commit_url: address of a commit's page, {commit} standing for its SHA; default: that of the checkout's remote.
        url: where the site will be published, for the feed's links.
    """
    from stmbench.history.folder import History
    from stmbench.history.series import machines_of
    from stmbench.reporting.dashboard.page import write_dashboard

    machines = machines_of(History(Path(history)).records())
    return write_dashboard(machines, Path(out), title=title, commit_url=commit_url, url=url)
