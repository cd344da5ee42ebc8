"""The command line: one command per file, no logic of its own. `stmbench --help` and completion must not import torch.

group                                the commands by name; mistakes and errors as one line
analysis_command, analysis_output    the command of an analysis, made from its entry, and what it shows
options, values                      options that commands share and their completion; values parsed
addresses                            stores at addresses: fetched before a command, sent when it ends
session, terminal                    one call's state and exit code; standard output and progress
study, study_output                  one command from a new mixer to an answer
list, run, run_output, plan_output, receipts, train    models and experiments
report, watch, compare, history, dashboard, export, store, convert    stores, reports and files
new, check                           plug-ins
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
