"""`stmbench dashboard HISTORY`: charts of a history with change points, as files that open without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, terminal

app = typer.Typer(add_completion=False)


@app.command()
def dashboard(
    history: Annotated[Path, typer.Argument(metavar="HISTORY", help="A folder that `stmbench history add` made.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write the site to.")] = Path(
        "reports/dashboard"
    ),
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Title of the page.")] = "stmbench dashboard",
    commit_url: Annotated[
        str | None,
        typer.Option(
            "--commit-url",
            metavar="URL",
            help="URL of a commit's page, with {commit} for its SHA; default: that of the checkout's remote.",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="URL of the published site, for links in the feed.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Draw every tracked metric over the commits, detect change points, and write a page and a feed of regressions."""
    from stmbench.history.folder import History
    from stmbench.history.series import events_of, machines_of
    from stmbench.reporting.dashboard.page import write_dashboard

    machines = machines_of(History(history).records())
    paths = write_dashboard(machines, out, title=title, commit_url=commit_url, url=url)
    for machine in machines:
        for text in machine.unreadable:
            typer.secho(f"warning: skipped the file {text}", err=True, fg=typer.colors.YELLOW)
        events = events_of(machine)
        typer.echo(
            f"{machine.machine}: {len(machine.commits)} commits, {len(machine.series)} series, "
            f"{sum(event.worse is True for event in events)} regressions, "
            f"{sum(event.worse is False for event in events)} improvements",
            err=True,
        )
    terminal.echo("\n".join(f"{what:5} {path}" for what, path in paths.items()))
