"""`stmbench check FILE`: whether what a plug-in registers keeps its contract, and if not, how to fix it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stmbench.analyses.registry import ANALYSES
from stmbench.commands import options, terminal, values
from stmbench.commands.analysis_command import command_of
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
            help="A plug-in file or folder, or the name of a registered mixer or analysis.",
            autocompletion=options.complete_python_files,
        ),
    ],
    plugin: options.Plugin = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Where mixers run; by default the CPU if they run on it.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help="What mixers compute in, e.g. float32; by default all they can."),
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Check everything that a plug-in registers: mixers and analyses against their contracts, models by running them.

    Exit with code 1 if a check fails.
    """
    checked = outcomes_of(target, plugin or (), device=device, dtype=dtype)
    every = [(kind, name, outcome) for kind, name, outcomes in checked for outcome in outcomes]
    if as_json:
        rows = [{"kind": kind, "name": name, **dataclasses.asdict(outcome)} for kind, name, outcome in every]
        terminal.echo(json.dumps(rows, indent=2))
    else:
        for kind, name, outcomes in checked:
            _print(kind, name, outcomes)
    if any(outcome.status == "failed" for *_, outcome in every):
        raise typer.Exit(1)


def outcomes_of(
    target: str, plugins: Sequence[Path], *, device: str | None = None, dtype: str | None = None
) -> list[tuple[str, str, list[Outcome]]]:
    """(kind, name, outcomes of its checks) of all that a plug-in registers, or of a registered mixer or analysis.

    Raises:
        ConfigError: a device that this machine has not, or a device or dtype that a mixer has not.
    """
    from stmbench.plugins import load_plugin, load_plugins

    device = None if device is None else values.device(device)
    load_plugins(plugins)
    if target.endswith(".py") or Path(target).exists():
        registered = load_plugin(target, try_out=False).registered
    else:  # a name that nothing has is taken for a mixer's, whose check then refuses it
        registered = {"analysis" if target in ANALYSES else "mixer": (target,)}
    pairs = [(kind, name) for kind, names in registered.items() for name in names]
    given: dict[str, dict[str, Any]] = {"mixer": {"device": device, "dtype": dtype}}
    return [(kind, name, CHECKS[kind](name, **given.get(kind, {})) if kind in CHECKS else []) for kind, name in pairs]


def _check_mixer(name: str, *, device: str | None = None, dtype: str | None = None) -> list[Outcome]:
    from stmbench.measure.counting import count
    from stmbench.mixers.base import MIXERS
    from stmbench.mixers.conformance import conform

    def macs(module: Any, size: tuple[int, int, int]) -> int:
        return count(module, size).macs

    return conform(MIXERS.get(name), count=macs, device=device, dtype=dtype)


def _check_model(name: str) -> list[Outcome]:
    from stmbench.architectures.conformance import check_model

    return check_model(f"timm:{name}")


def _check_analysis(name: str) -> list[Outcome]:
    from stmbench.analyses.conformance import conform
    from stmbench.api.analyses import function_of
    from stmbench.plugins import loaded_paths

    interfaces = (lambda spec: typer.main.get_command(command_of(spec)), lambda spec: function_of(spec.name))
    return conform(ANALYSES.get(name), plugins=map(str, loaded_paths()), interfaces=interfaces)


CHECKS: dict[str, Callable[..., list[Outcome]]] = {
    "mixer": _check_mixer,
    "analysis": _check_analysis,
    "timm model": _check_model,
}


def _facts(kind: str, name: str) -> list[str]:
    """What a mixer is limited to."""
    if kind != "mixer":
        return []
    from stmbench.mixers import trials
    from stmbench.mixers.base import MIXERS

    return trials.limits(MIXERS.get(name))


def _print(kind: str, name: str, outcomes: list[Outcome]) -> None:
    console = terminal.console(highlight=False, soft_wrap=True)
    marks = {"passed": "[green]pass[/]", "failed": "[bold red]FAIL[/]", "skipped": "[dim]skip[/]"}
    console.print(f"[bold]{name}[/]" + ("" if kind == "mixer" else f" ({kind})"))
    for fact in _facts(kind, name):
        console.print(f"  {fact}", markup=False)
    not_run = [outcome for outcome in outcomes if outcome.not_run]
    for outcome in outcomes:
        if outcome in not_run:
            continue
        console.print(f"  {marks[outcome.status]}  {outcome.check}: {outcome.promise}")
        word = "found" if outcome.status == "failed" else "because"
        pairs = ((word, printable(outcome.found)), ("remedy", outcome.remedy), ("to paste", outcome.proposal))
        for label, text in pairs:
            if text:
                console.print(f"        {label}: {text}", markup=False)
    if not_run:
        console.print(f"  {marks['skipped']}  {len(not_run)} checks that run the mixer: {not_run[0].found}")
    count = Counter[str](outcome.status for outcome in outcomes)
    summary = ", ".join(f"{count[status]} {status}" for status in marks)
    console.print(f"  {summary if outcomes else f'registered; there are no checks for this kind: {kind}'}")
