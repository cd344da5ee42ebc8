"""`stmbench report`: what was measured, for people: a page, a document, tables for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, values
from stmbench.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command(epilog="Nothing is measured: the stores are read and stay as they are.")
def report(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Folders that were given to --out.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="STEM", help="Where to write, without the ending.")
    ] = Path("reports/report"),
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", metavar="FORMATS", help="html, pdf, latex, markdown; default: html,pdf."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Default: what was compared.")] = None,
    debug: options.Debug = False,
) -> None:
    """Make a report of stores: one offline HTML file and one PDF, or tables in LaTeX and Markdown.

    The summary comes first, then a section for each analysis: figures, tables, definition, caveats.
    """
    chosen = tuple(dict.fromkeys(values.items(formats) or ("html", "pdf")))
    if not out.name:
        raise ConfigError("a file name without its ending for --out", repr(str(out)), "such as reports/report")

    from stmbench.reporting import compose, read_stores, write_report

    content = compose(read_stores(stores), title=title)
    for path in write_report(content, out, chosen):
        typer.echo(path)
