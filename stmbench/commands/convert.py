"""`stmbench convert`: copy a checkpoint as safetensors, or show what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stmbench.commands import options, terminal
from stmbench.errors import ConfigError, printable

if TYPE_CHECKING:
    from stmbench.checkpoints.inspection import WeightSetSummary

app = typer.Typer(add_completion=False)


@app.command()
def convert(
    file: Annotated[str, typer.Argument(metavar="FILE[#KEY]", help="A checkpoint; KEY selects weights in it.")],
    weights: options.Weights = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Show names, shapes and family instead of writing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The new file; default: FILE.safetensors.")
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write a checkpoint's weights as safetensors, or show what a file holds. Needs no model and runs no code.

    The copy's tensors have plain names, without the prefixes of wrappers. In tables it has the name of the original.
    """
    if inspect and out is not None:
        raise ConfigError("--inspect or --out", "both", "leave one out")
    if as_json and not inspect:
        raise ConfigError("--json with --inspect", "--json alone", "add --inspect, or leave out --json")
    from stmbench.checkpoints import inspection
    from stmbench.checkpoints.selection import Checkpoint

    checkpoint = Checkpoint.parse(file, weights=weights)
    if inspect:
        sets = inspection.inspect(checkpoint)
        terminal.echo(json.dumps([_as_dict(item) for item in sets], indent=2) if as_json else _text(sets))
        return
    target = out or checkpoint.path.with_suffix(".safetensors")
    stored, count = inspection.write_safetensors(checkpoint, target)
    if stored.remark:
        typer.secho(f"warning: {stored.remark}", err=True, fg=typer.colors.YELLOW)
    typer.echo(f"{count} tensors of {stored.source} written to {target}", err=True)


def _as_dict(item: WeightSetSummary) -> dict[str, Any]:
    tensors = [{"name": entry.name, "shape": entry.shape, "dtype": entry.dtype} for entry in item.entries]
    return {"key": item.key, "averaged": item.averaged, "family": item.family, "tensors": tensors}


def _text(sets: list[WeightSetSummary]) -> str:
    lines = []
    for item in sets:
        kind = "averaged" if item.averaged else "raw"
        count = f"{len(item.entries)} entries, {item.num_values:,} values"
        lines.append(f"{item.key or 'the whole file'}: {kind} weights, {count}; family: {item.family}")
        width = max((len(entry.name) for entry in item.entries), default=0)
        for entry in item.entries:
            shape = "" if entry.shape is None else "x".join(map(str, entry.shape)) or "one number"
            lines.append(f"  {entry.name:{width}}  {shape}  {entry.dtype}")
    return "\n".join(map(printable, lines))
