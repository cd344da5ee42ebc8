"""Functions of stores: compare two, read, export, report, and keep them by commit."""

from __future__ import annotations

import datetime
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from stmbench.api.analyses import in_python, listed
from stmbench.api.results import StoreResult
from stmbench.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pandas as pd

    from stmbench.tables.comparison_result import Comparison as Findings

    StoreLike = Union[str, Path, StoreResult]  # noqa: UP007 - evaluated by tools on Python 3.10


class Comparison:
    """Whether the second store is worse than the first one.

    Attributes:
        table: a finding in each row: model, metric, verdict, effect and its interval, minimum detectable effect.
        verdicts: model -> the gravest of its verdicts: worse, failed, inconclusive, better, same.
        is_regression: whether anything became worse.
    """

    def __init__(self, findings: Findings) -> None:
        import dataclasses

        import pandas as pd

        from stmbench.tables.comparison_result import REGRESSION, VERDICTS

        self.findings = findings
        self.table = pd.DataFrame([dataclasses.asdict(finding) for finding in findings.findings])
        self.verdicts = {
            str(model): min(rows["verdict"], key=VERDICTS.index) for model, rows in self.table.groupby("model")
        }
        self.is_regression = findings.exit_code(strict=False) == REGRESSION

    def __repr__(self) -> str:
        from stmbench.reporting import comparison as pages

        return f"<{pages.headline(self.findings)}>"

    def _repr_html_(self) -> str:
        """What the command prints, for a notebook."""
        import pandas as pd

        from stmbench.reporting import comparison as pages

        lines = [f"<p><b>{html.escape(pages.headline(self.findings))}</b></p>"]
        lines += [f"<p>{html.escape(line)}</p>" for line in pages.facts(self.findings)]
        rows = [
            (found.verdict, found.model, found.metric, found.conditions, pages.change(found),
             pages.interval(found) or "", pages.detectable(found))
            for found in self.findings.findings
        ]  # fmt: skip
        columns = ["verdict", "model", "metric", "conditions", "head / base", "95 % interval", "min. detectable"]
        lines.append(pd.DataFrame(rows, columns=columns).to_html(index=False))
        notes = [*pages.reasons(self.findings), *self.findings.notes, *pages.legend(self.findings)]
        return "\n".join([*lines, *(f"<p><small>{html.escape(line)}</small></p>" for line in notes)])


def compare(
    base: StoreLike,
    head: StoreLike,
    *,
    history: str | Path | None = None,
    machine: str | None = None,
    margin: float | None = None,
    quality_margin: float = 0.005,
    seed: int = 0,
) -> Comparison:
    """Say for each model and metric whether `head` is worse than `base`, better, the same, or inconclusive.

    Two versions of code are compared live by the command: `stmbench compare --live`.

    Args:
        base: a result or store; with `history`, a commit of it.
        head: likewise.
        history: a folder that `add_to_history` made.
        machine: of the history, where several measured both commits.
        margin: change of a time that matters; default: 0.15.
        quality_margin: change of an accuracy that matters: 0.005 is half a point.
        seed: of the bootstrap.
    """
    from stmbench.comparison.stored import SPEED_MARGIN, StoredConfig, compare_stores

    try:
        config = StoredConfig(
            speed_margin=SPEED_MARGIN if margin is None else margin, quality_margin=quality_margin, seed=seed
        )
        if history is not None:
            from stmbench.history.folder import History, stores_of

            return Comparison(compare_stores(*stores_of(History(Path(history)), str(base), str(head), machine), config))
        if machine is not None:
            raise ConfigError("a history with `machine`", "`machine` alone", "give `history` too")
        folders = folder_of(base), folder_of(head)
        if folders[0].resolve() == folders[1].resolve():
            raise ConfigError("two stores", f"{str(folders[0])!r} twice", "measure with another `out`")
        return Comparison(compare_stores(*folders, config))
    except InputError as error:
        raise in_python(error) from None


def folder_of(store: StoreLike) -> Path:
    """The folder of a result or a store."""
    return store.store if isinstance(store, StoreResult) else Path(store)


def read(store: StoreLike, *, plugins: Sequence[str | Path] = ()) -> StoreResult:
    """A store as a result: its `table`, `plot()` and `report()`. Files that cannot be read are warnings."""
    _load(plugins)
    from stmbench.tables import read as read_rows

    folder = folder_of(store)
    frame = read_rows(folder)
    lines = [f"skipped the file {part}: {reason}" for part, reason in frame.attrs["unreadable"]]
    failed = frame[frame["status"] == "failed"].drop_duplicates(["model", "reason"])
    failures = [f"{model}: {reason}" for model, reason in zip(failed["model"], failed["reason"], strict=True)]
    return StoreResult(folder, frame, failures, lines)


def export(store: StoreLike, out: str | Path, *, plugins: Sequence[str | Path] = ()) -> Path:
    """Write every row of a store as CSV, in base units; returns the file."""
    from stmbench.tables.rows import write_csv

    return Path(write_csv(read(store, plugins=plugins).table, Path(out)))


def report(
    stores: StoreLike | Sequence[StoreLike],
    out: str | Path = "reports/report",
    *,
    formats: str | Sequence[str] | None = None,
    title: str | None = None,
    baseline: str | None = None,
    plugins: Sequence[str | Path] = (),
) -> list[Path]:
    """Make a report of stores; returns its files.

    Args:
        stores: results or folders.
        out: where to write, without the ending.
        formats: html, pdf, latex, markdown; default: html, and pdf where typst is installed.
        title: default: what was compared.
        baseline: the model, or its mixer, that the others are compared with; default: the control, else the first.
        plugins: Python files that register what the stores hold.
    """
    import importlib.util

    from stmbench.commands.report import overview
    from stmbench.reporting import build_report, places, read_stores, write_report

    _load(plugins)
    default = ("html", "pdf") if importlib.util.find_spec("typst") else ("html",)
    chosen = default if formats is None else tuple(listed(formats))
    try:
        places(Path(out), chosen)
        frame = read_stores([folder_of(store) for store in listed(stores)])
        content = build_report(frame, title=title, first=overview(frame, baseline))
        return list(write_report(content, Path(out), chosen))
    except InputError as error:
        raise in_python(error) from None


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
        commit_url: address of a commit's page, {commit} standing for its SHA.
        url: where the site will be published, for the feed's links.
    """
    from stmbench.history.folder import History
    from stmbench.history.series import machines_of
    from stmbench.reporting.dashboard.page import write_dashboard

    machines = machines_of(History(Path(history)).records())
    return write_dashboard(machines, Path(out), title=title, commit_url=commit_url, url=url)


def _load(plugins: Any) -> None:
    from stmbench.plugins import load_plugins

    if plugins:
        load_plugins([Path(file) for file in listed(plugins)])
