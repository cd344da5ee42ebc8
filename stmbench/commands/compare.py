"""`stmbench compare`: is head worse than base? From two stores, or live."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stmbench.commands import options

if TYPE_CHECKING:
    from stmbench.tables.verdicts import Comparison

app = typer.Typer(add_completion=False)
TABLE_WIDTH = 100


class Format(str, enum.Enum):
    """How the comparison is written."""

    terminal = "terminal"
    markdown = "markdown"
    json = "json"


@app.command(epilog="Exit codes: 0, no regression; 1, a regression; 2, bad input; 3 with --strict, not resolved.")
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A store; with --live a checkout or a Python.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="Likewise; compared with BASE.")],
    margin: Annotated[
        float | None, typer.Option("--margin", help="Relative change of a time that matters; default: 0.15 of stores.")
    ] = None,
    quality_margin: Annotated[
        float, typer.Option("--quality-margin", help="Change of an accuracy that matters: 0.005 is half a point.")
    ] = 0.005,
    seed: options.Seed = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Leave with 3 where something is not resolved or failed.")
    ] = False,
    format: Annotated[Format, typer.Option("--format", help="terminal, markdown (a pull request), json.")] = (
        Format.terminal
    ),
    debug: options.Debug = False,
) -> None:
    """Say for each model and metric whether HEAD is worse than BASE, better, the same, or not resolved."""
    from stmbench.analyses.compare.stored import SPEED_MARGIN, StoredConfig, compare_stores

    config = StoredConfig(
        speed_margin=SPEED_MARGIN if margin is None else margin, quality_margin=quality_margin, seed=seed
    )
    comparison = compare_stores(Path(base), Path(head), config)
    show(comparison, format)
    raise typer.Exit(comparison.exit_code(strict=strict))


def show(comparison: Comparison, format: Format) -> None:
    """Print the comparison to standard output."""
    from stmbench.reporting import comparison as pages

    if format is Format.json:
        typer.echo(pages.as_json(comparison))
    elif format is Format.markdown:
        typer.echo(pages.markdown(comparison), nl=False)
    else:
        from rich.console import Console

        # a pipe has no width of its own: the table gets the one it was laid out for
        Console(width=None if sys.stdout.isatty() else TABLE_WIDTH).print(pages.terminal(comparison))
