"""`stmbench store compact`: a store's many files merged into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options
from stmbench.commands.addresses import shown, store_folder
from stmbench.commands.group import SuggestingGroup

app = typer.Typer(add_completion=False, cls=SuggestingGroup, no_args_is_help=True)


@app.callback()
def store() -> None:
    """Look after a result store."""


@app.command()
def compact(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="The result store.", parser=store_folder)],
    debug: options.Debug = False,
) -> None:
    """Merge a store's parts into one file, which is read many times faster; nothing else changes."""
    from stmbench.tables import Store

    done = Store(folder).compact()
    for part, reason in done.left:
        typer.secho(f"warning: left the file {part} as it is: {reason}", err=True, fg=typer.colors.YELLOW)
    parts = "1 part" if done.merged == 1 else f"{done.merged:,} parts"
    units = "1 unit" if done.units == 1 else f"{done.units:,} units"
    typer.echo(f"{parts} merged; {shown(folder)} holds {units} of work in one file", err=True)
