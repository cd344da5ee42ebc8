"""`stmbench export`: a store as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, terminal
from stmbench.commands.addresses import store_folder

app = typer.Typer(add_completion=False)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The result store to read.", parser=store_folder)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
    flat: Annotated[
        Path | None,
        typer.Option("--flat", metavar="FILE", help="Write a row per model, in the columns of timm's results.csv."),
    ] = None,
    plugin: options.Plugin = None,
    debug: options.Debug = False,
) -> None:
    """Write every row of a result store as CSV, in base units; with --flat, a row for each model."""
    if plugin:  # a store can be read without its mixers, so torch is imported only if needed
        from stmbench.plugins import load_plugins

        load_plugins(plugin)
    from stmbench.tables import read
    from stmbench.tables.rows import csv_text, write_csv

    frame = read(folder)
    for part, reason in frame.attrs["unreadable"]:
        typer.secho(f"warning: skipped the file {part}: {reason}", err=True, fg=typer.colors.YELLOW)
    if flat is not None:
        from stmbench.tables.flat import flat_table

        table = flat_table(frame)
        write_csv(table, flat)
        typer.echo(f"{len(table)} {'row' if len(table) == 1 else 'rows'} written to {flat}", err=True)
    if out is None and flat is None:
        terminal.echo(csv_text(frame), nl=False)
    elif out is not None:
        typer.echo(f"{len(frame)} rows written to {write_csv(frame, out)}", err=True)
