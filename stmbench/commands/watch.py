"""`stmbench watch STORE`: the report of a store that is being written, on localhost."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, session, terminal
from stmbench.commands.addresses import refresh, shown, store_folder
from stmbench.commands.report import overview
from stmbench.errors import TableError

app = typer.Typer(add_completion=False)


@app.command(epilog="Nothing is measured or written, and only this machine can read the page.")
def watch(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE", help="The result store; it may be empty or not exist yet.", parser=store_folder
        ),
    ],
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="The port to serve on; 0: any free one.")
    ] = 8765,
    baseline: options.Baseline = None,
    plugin: options.Plugin = None,
    debug: options.Debug = False,
) -> None:
    """Show a store's report on localhost while it is being written, with the curves of training runs under way.

    Open the address that is printed. The page follows the store by itself; Ctrl-C ends it.
    """
    if store.exists() and not store.is_dir():
        raise TableError("a result store", f"the file {str(store)!r}", "name the folder given to --out")
    if plugin:
        from stmbench.plugins import load_plugins

        load_plugins(plugin)
    from stmbench.reporting import build_report, read_stores
    from stmbench.reporting.content import Report
    from stmbench.reporting.live import LivePage
    from stmbench.reporting.serving import Server

    def build(folder: Path) -> Report:
        frame = read_stores([folder])
        return build_report(frame, first=overview(frame, baseline))

    with Server(LivePage(store, build, refresh=lambda: refresh(store)), port) as server:
        with contextlib.suppress(AttributeError, OSError):
            os.nice(10)  # drawing gives way to what is being measured
        session.keep("the store is unchanged")
        terminal.echo(server.address)
        if not store.exists():
            typer.echo(f"{shown(store)} does not exist yet; the page waits for it", err=True)
        typer.echo("Ctrl-C ends the page", err=True)
        server.serve_forever(poll_interval=0.2)
