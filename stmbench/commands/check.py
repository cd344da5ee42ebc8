"""`stmbench check FILE`: whether what a plug-in registers keeps its contract, and if not, how to fix it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
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
            help="A plug-in file or folder, or the name of a registered mixer.",
            autocompletion=suggestions.python_files,
        ),
    ],
    plugin: options.Plugin = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Check everything that a plug-in registers: a mixer against the contract, a model by running it.

    Exit with code 1 if a check fails.
    """
    from stmbench.plugins import load_plugin, load_plugins

    load_plugins(plugin)
    is_name = not target.endswith(".py") and not Path(target).exists()
    registered = {"mixer": (target,)} if is_name else load_plugin(target, try_out=False).registered
    found = [
        (kind, name, CHECKS[kind](name) if kind in CHECKS else []) for kind in registered for name in registered[kind]
    ]
    if as_json:
        rows = [
            {"kind": kind, "name": name, **dataclasses.asdict(outcome)}
            for kind, name, outcomes in found
            for outcome in outcomes
        ]
        streams.echo(json.dumps(rows, indent=2))
    else:
        for kind, name, outcomes in found:
            _print(kind, name, outcomes)
    if any(outcome.status == "failed" for _, _, outcomes in found for outcome in outcomes):
        raise typer.Exit(1)


def _check_mixer(name: str) -> list[Outcome]:
    from stmbench.measure.counting import count
    from stmbench.mixers.base import MIXERS
    from stmbench.mixers.conformance import conform

    return conform(MIXERS.get(name), count=lambda module, size: count(module, size).macs)


def _check_model(name: str) -> list[Outcome]:
    from stmbench.architectures.conformance import check_model

    return check_model(f"timm:{name}")


CHECKS: dict[str, Callable[[str], list[Outcome]]] = {"mixer": _check_mixer, "timm model": _check_model}


def _print(kind: str, name: str, outcomes: list[Outcome]) -> None:
    console = streams.console(highlight=False, soft_wrap=True)
    marks = {"passed": "[green]pass[/]", "failed": "[bold red]FAIL[/]", "skipped": "[dim]skip[/]"}
    console.print(f"[bold]{name}[/]" + ("" if kind == "mixer" else f" ({kind})"))
    for outcome in outcomes:
        console.print(f"  {marks[outcome.status]}  {outcome.check}: {outcome.promise}")
        if outcome.found:
            word = "found" if outcome.status == "failed" else "because"
            console.print(f"        {word}: {printable(outcome.found)}", markup=False)
        if outcome.remedy:
            console.print(f"        remedy: {outcome.remedy}", markup=False)
    if not outcomes:
        console.print(f"  registered; there are no checks for this kind: {kind}")
        return
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    passed = sum(outcome.status == "passed" for outcome in outcomes)
    skipped = len(outcomes) - failed - passed
    console.print(f"  {passed} passed, {failed} failed, {skipped} skipped")
