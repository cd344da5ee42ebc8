"""Functions of stores: compare two, read, export, merge, report."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from stmbench.api.analyses import in_python, listed
from stmbench.api.results import StoreResult, html_table
from stmbench.errors import ConfigError, InputError

if TYPE_CHECKING:
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
        lines.append(_paragraph(pages.facts(self.findings)))
        rows = [
            (found.verdict, found.model, found.metric, found.conditions, pages.change(found),
             pages.interval(found) or "", pages.detectable(found))
            for found in self.findings.findings
        ]  # fmt: skip
        columns = ["verdict", "model", "metric", "conditions", "head / base", "95 % interval", "min. detectable"]
        lines.append(html_table(pd.DataFrame(rows, columns=columns), columns[4:]))
        notes = [*pages.reasons(self.findings), *self.findings.notes, *pages.legend(self.findings)]
        return "\n".join([*lines, f"<small>{_paragraph(notes)}</small>"])


def _paragraph(lines: Iterable[str]) -> str:
    return f"<p>{'<br>'.join(map(html.escape, lines))}</p>"


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
    from stmbench.tables.addresses import fetched_store

    return store.store if isinstance(store, StoreResult) else fetched_store(store)


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


def export(
    store: StoreLike,
    out: str | Path | None = None,
    *,
    flat: str | Path | None = None,
    plugins: Sequence[str | Path] = (),
) -> Path:
    """Write a store as CSV; returns the file, that of `out` where there are two.

    Args:
        out: a file for every row, in base units.
        flat: a file with a row for each model, in the columns and units of timm's results.csv.
        plugins: Python files that register what the store holds.
    """
    from stmbench.tables.flat import flat_table
    from stmbench.tables.rows import write_csv

    if out is None and flat is None:
        raise ConfigError("`out` or `flat`", "neither", "give one")
    table = read(store, plugins=plugins).table
    if flat is not None:
        write_csv(flat_table(table), Path(flat))
    return Path(flat or "") if out is None else Path(write_csv(table, Path(out)))


def compact_store(store: StoreLike) -> int:
    """Merge a store's parts into one file, which is read many times faster; returns how many were merged.

    Damaged parts stay as they are. Nothing else changes: what is done stays done, and a new part takes the place of a
    merged one.
    """
    from stmbench.tables import Store
    from stmbench.tables.addresses import sent_at_the_end

    with sent_at_the_end():
        return Store(folder_of(store)).compact().merged


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


def _load(plugins: Any) -> None:
    from stmbench.plugins import load_plugins

    if plugins:
        load_plugins([Path(file) for file in listed(plugins)])
