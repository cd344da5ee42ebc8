"""`stmbench history add|list|prune`: stores by commit and machine, for `stmbench dashboard`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stmbench.commands import options, terminal
from stmbench.commands.addresses import store_folder
from stmbench.commands.group import SuggestingGroup
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.history.record import Record

app = typer.Typer(add_completion=False, cls=SuggestingGroup, no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--history", "-H", metavar="FOLDER", help="The folder of the history.")]
Machine = Annotated[str | None, typer.Option("--machine", metavar="ID", help="Show this machine only.")]
HISTORY = Path("history")


@app.callback()
def history() -> None:
    """Keep stores by commit and machine, for `stmbench dashboard` to draw and to search for change points."""


@app.command()
def add(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The result store to copy.", parser=store_folder)],
    folder: Folder = HISTORY,
    commit: Annotated[
        str | None,
        typer.Option(
            "--commit", metavar="SHA", help="The commit that was measured; default: the one named by the store."
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            metavar="ISO",
            help="The date of the commit; default: from git, else that of the last measurement.",
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="TEXT", help="The first line of the commit message; default: from git."),
    ] = None,
    repository: Annotated[
        Path, typer.Option("--repository", metavar="FOLDER", help="A checkout that contains the commit.")
    ] = Path("."),
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing record.")] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Copy a store into a history, as the record of a commit on the machine that measured it."""
    from stmbench.history import adding
    from stmbench.history.folder import History
    from stmbench.tables import Store

    done = adding.add(
        Store(store),
        History(folder),
        find=lambda name: adding.find(name, repository),
        commit=commit,
        date=None if date is None else adding.parse_date(date, "--date"),
        subject=None if subject is None else adding.one_line(subject),
        replace=replace,
    )
    for part, reason in done[0].unreadable:
        _warn(f"skipped the file {part}: {reason}")
    if done[0].others:
        _warn(f"{done[0].others} parts of other commits were left out")
    for item in done:
        for failure in item.summary.failures:
            times = f" ({failure.times} times)" if failure.times > 1 else ""
            _warn(f"{failure.model}: {failure.status}{times}, {failure.reason}")
        if not item.summary.values:
            _warn(f"the store holds no tracked metric; its record was still added to {folder}")
        if item.facts.changed:
            _warn("the checkout had uncommitted changes")
        text = f"{len(item.summary.values)} values added as {item.folder}"
        typer.echo(text, file=sys.stderr if as_json else terminal.out())
    if as_json:
        terminal.echo(json.dumps([{"folder": str(item.folder), "values": len(item.summary.values)} for item in done]))


@app.command(name="list")
def list_(
    folder: Annotated[Path, typer.Argument(metavar="HISTORY", help="The folder of the history.")] = HISTORY,
    machine: Machine = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """The records of a history, newest first."""
    from stmbench.history.folder import History

    records = [record for record in History(folder).records() if machine in (None, record.facts.machine)][::-1]
    facts = [_facts(record) for record in records]
    if as_json:
        terminal.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    elif not facts:
        typer.echo(f"no records in {folder}; add one with `stmbench history add STORE --history {folder}`", err=True)
    else:
        _print(facts)


@app.command()
def prune(
    folder: Annotated[Path, typer.Argument(metavar="HISTORY", help="The folder of the history.")] = HISTORY,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Remove all but each machine's N newest records."),
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="DATE", help="Remove records of commits before this date.")
    ] = None,
    machine: Machine = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    debug: options.Debug = False,
) -> None:
    """Remove old records, selected by --keep or --before."""
    if keep is None and before is None:
        raise ConfigError("a rule for what to remove", "none", "give --keep N or --before DATE")
    from stmbench.history.adding import parse_date
    from stmbench.history.folder import History, old_records

    where = History(folder)
    limit = None if before is None else parse_date(before, "--before")
    chosen = old_records(where.records(), keep=keep, before=limit, machine=machine)
    for record in chosen:
        if not dry_run:
            where.remove(record)
        terminal.echo(f"{record.facts.machine}/{record.facts.name} {record.facts.subject}".rstrip())
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{len(chosen)} record{'' if len(chosen) == 1 else 's'} {verb}", err=True)


def _facts(record: Record) -> dict[str, Any]:
    facts, summary = record.facts, record.summary()
    return {
        "machine": facts.machine,
        "cpu": facts.machine_facts.get("cpu"),
        "commit": facts.commit,
        "date": facts.date.isoformat(),
        "subject": facts.subject,
        "changed": facts.changed,
        "models": len({value.key.model for value in summary.values if value.key.model is not None}),
        "values": len(summary.values),
        "failed": sum(failure.times for failure in summary.failures if failure.status == "failed"),
        "skipped": sum(failure.times for failure in summary.failures if failure.status == "skipped"),
        "unreadable": len(summary.unreadable),
        "folder": str(record.folder),
    }


def _print(facts: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("machine", "commit", "date", "subject"):
        table.add_column(name, overflow="fold", no_wrap=name != "subject")
    for name in ("models", "values", "failed", "unreadable"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in facts:
        commit = line["commit"][:12] + ("*" if line["changed"] else "")
        words = [line["machine"], commit, line["date"][:10], line["subject"]]
        numbers = [str(line[name]) for name in ("models", "values", "failed", "unreadable")]
        table.add_row(*(Text(word) for word in [*words, *numbers]))  # not markup: a subject may have brackets
    if any(line["changed"] for line in facts):
        table.caption = Text("* the checkout had uncommitted changes")
        table.caption_justify = "left"
    terminal.console(120).print(table)


def _warn(text: str) -> None:
    typer.secho(f"warning: {text}", err=True, fg=typer.colors.YELLOW)
