"""The command line: one command per file, no logic of its own.

A file of this package is imported when its command is looked at, and imports nothing but Typer and the light modules at
its top: `stmbench --help` and completion answer before torch would have been found.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stmbench.commands import options
from stmbench.commands.group import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A mixer of your own: stmbench new mixer NAME, stmbench check FILE, then --plugin FILE in any command.",
)


def _print_version(value: bool) -> None:
    if value:
        from stmbench import __version__

        typer.echo(f"stmbench {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Compare spatial token mixers (attention and convolution operators of vision backbones) in one architecture."""
