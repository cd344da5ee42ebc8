"""`stmbench check FILE`: does a mixer keep the contract, and if not, what is to be done?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stmbench.commands import options, streams, suggestions
from stmbench.errors import printable

if TYPE_CHECKING:
    from stmbench.mixers.conformance import Outcome

app = typer.Typer(add_completion=False)


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A plug-in file, or the name of a registered mixer.",
            autocompletion=suggestions.python_files,
        ),
    ],
    plugin: options.Plugin = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Run the conformance suite on a mixer and say in words what fails. Leaves with 1 if something does."""
    from stmbench.measure.counting import count
    from stmbench.mixers.base import MIXERS
    from stmbench.mixers.conformance import conform
    from stmbench.mixers.plugins import load_plugin, load_plugins

    load_plugins(plugin)
    is_name = not target.endswith(".py") and not Path(target).exists()
    entries = [MIXERS.get(name) for name in ([target] if is_name else load_plugin(target, try_out=False))]
    found = {entry.name: conform(entry, count=lambda module, size: count(module, size).macs) for entry in entries}
    if as_json:
        streams.echo(
            json.dumps(
                [
                    {"mixer": name, **dataclasses.asdict(outcome)}
                    for name, outcomes in found.items()
                    for outcome in outcomes
                ],
                indent=2,
            )
        )
    else:
        for name, outcomes in found.items():
            _print(name, outcomes)
    if any(outcome.status == "failed" for outcomes in found.values() for outcome in outcomes):
        raise typer.Exit(1)


def _print(name: str, outcomes: list[Outcome]) -> None:
    console = streams.console(highlight=False, soft_wrap=True)
    marks = {"passed": "[green]pass[/]", "failed": "[bold red]FAIL[/]", "skipped": "[dim]skip[/]"}
    console.print(f"[bold]{name}[/]")
    for outcome in outcomes:
        console.print(f"  {marks[outcome.status]}  {outcome.check}: {outcome.promise}")
        if outcome.found:
            word = "found" if outcome.status == "failed" else "because"
            console.print(f"        {word}: {printable(outcome.found)}", markup=False)
        if outcome.remedy:
            console.print(f"        remedy: {outcome.remedy}", markup=False)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    passed = sum(outcome.status == "passed" for outcome in outcomes)
    skipped = len(outcomes) - failed - passed
    console.print(f"  {passed} passed, {failed} failed, {skipped} skipped")
