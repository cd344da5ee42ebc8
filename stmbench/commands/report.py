"""`stmbench report`: what was measured, for people: a page, a document, tables for papers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stmbench.commands import options, terminal, values
from stmbench.commands.addresses import store_folder
from stmbench.errors import ConfigError, install

if TYPE_CHECKING:
    import pandas as pd

    from stmbench.reporting.content import Section

app = typer.Typer(add_completion=False)
DEFAULT: Final = ("html", "pdf")


@app.command(epilog="Nothing is measured; the stores are only read.")
def report(
    stores: Annotated[
        list[Path],
        typer.Argument(
            metavar="STORE...",
            help="Result stores: what was given to --out.",
            parser=store_folder,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="STEM", help="Path of the report without its suffix.")
    ] = Path("reports/report"),
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMATS",
            help="Formats, comma-separated: html, pdf, latex, markdown; default: html,pdf.",
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Title of the report; default: the compared models.")
    ] = None,
    baseline: options.Baseline = None,
    plugin: options.Plugin = None,
    debug: options.Debug = False,
) -> None:
    """Write a report of stores: one offline HTML file and one PDF, or LaTeX and Markdown.

    All models against the baseline come first, then the summary and a section for each analysis: figures, tables,
    definition, caveats.
    """
    chosen = tuple(dict.fromkeys(values.items(formats))) or DEFAULT
    if not out.name:
        raise ConfigError("a file name for --out", repr(str(out)), "such as reports/report")
    if not formats and importlib.util.find_spec("typst") is None:
        # nobody asked for it by name: the page is worth having
        message = f"no PDF without typst: {install('report')}"
        typer.secho(message, err=True, fg=typer.colors.YELLOW)
        chosen = ("html",)

    if plugin:  # a store says how its mixers are called and drawn, so torch is imported only for who asks
        from stmbench.plugins import load_plugins

        load_plugins(plugin)
    from stmbench.reporting import build_report, places, read_stores, write_report

    places(out, chosen)
    frame = read_stores(stores)
    for part, reason in frame.attrs["unreadable"]:
        typer.secho(f"warning: skipped the file {part}: {reason}", err=True, fg=typer.colors.YELLOW)
    content = build_report(frame, title=title, first=overview(frame, baseline))
    for path in write_report(content, out, chosen):
        terminal.echo(path)


def overview(frame: pd.DataFrame, baseline: str | None = None) -> tuple[Section, ...]:
    """The section on all models against one, where there are several.

    Args:
        frame: rows whose artifacts are paths that can be opened.
        baseline: a model or its mixer; default: `comparison.overview.baseline_of`.
    """
    from stmbench.comparison import overview as compared
    from stmbench.reporting.overview import overview_section

    found = compared.overview(frame, Path(), baseline)
    section = None if found is None else overview_section(frame, found.baseline, found.findings)
    return () if section is None else (section,)
