"""Options that choose models and their weights, for every command that loads models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stmbench.commands import suggestions, values
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.checkpoints.selection import Checkpoint

Architecture = Annotated[
    str, typer.Option("--architecture", metavar="NAME", help="The architecture the mixers are put into.")
]
Match = Annotated[
    str | None,
    typer.Option("--match", metavar="macs|params", help="Scale a mixer without a size of its own to the others'."),
]
Checkpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        metavar="[MODEL=]FILE[#KEY]",
        help="Weights of a model (.pth, .pt, .safetensors); without MODEL=, of the only one. KEY is their place in a "
        "file that holds several. Repeatable.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KIND",
        help="ema or raw, of files that hold the weights and their running average; default: the average.",
        autocompletion=suggestions.weights,
    ),
]
ResizeTables = Annotated[
    bool,
    typer.Option(
        "--resize-tables",
        help="Resize a checkpoint's position tables where the model has another window or resolution.",
    ),
]


def selection(
    ctx: typer.Context,
    *,
    models: Sequence[str] | None,
    mixers: Sequence[str] | None,
    scale: str,
    architecture: str,
    plugins: Sequence[Path] | None,
    match: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Models by name, or by scale, after loading plug-ins.

    Args:
        match: macs or params: rescale mixers without a size of their own to the others'; `note` is told about it.

    Raises:
        ConfigError: models both by name and by scale. UnknownNameError.
    """
    named = values.items(models)
    chosen_by = values.given(ctx, "scale", "mixers", "architecture")
    if named and chosen_by:
        raise ConfigError("models by name or by scale", f"--models and --{chosen_by[0]}", "leave one out")
    values.scale(scale)
    from stmbench.analyses.models import by_name, by_scale
    from stmbench.plugins import load_plugins

    load_plugins(plugins or ())
    names = by_name(named) or by_scale(scale, mixers=values.items(mixers), architecture=architecture)
    if match is None:
        return names
    from stmbench.analyses.match import match as match_models

    matching = match_models(names, match)
    for line in (*map(str, matching.matches), *matching.notes):
        note(line)
    return matching.names


def checkpoints_of(
    names: Sequence[str], texts: Sequence[str], weights: str | None = None, resize_tables: bool = False
) -> dict[str, Checkpoint]:
    """model -> checkpoint, from `MODEL=FILE[#KEY]`, or from one `FILE[#KEY]` for the only model.

    Raises:
        ConfigError: anything else.
    """
    for option, is_given in (("--weights", weights is not None), ("--resize-tables", resize_tables)):
        if is_given and not texts:
            raise ConfigError(f"--checkpoint with {option}", f"{option} alone", f"name a file, or leave {option} out")
    if not texts:
        return {}
    from stmbench.checkpoints.selection import Checkpoint

    checkpoints: dict[str, Checkpoint] = {}
    for text in texts:
        name = next((name for name in names if text.startswith(f"{name}=")), None)
        if name is None and len(names) == 1 and (len(texts) == 1 and not _names_a_model(text)):
            name, file = names[0], text
        elif name is None:
            remedy = f"write MODEL=FILE with one of {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            raise ConfigError("a checkpoint of a model of this run", repr(text), remedy)
        else:
            file = text.removeprefix(f"{name}=")
        if name in checkpoints:
            raise ConfigError("one checkpoint for each model", f"two for {name}", "leave one out")
        checkpoints[name] = Checkpoint.parse(file, weights=weights, resize_tables=resize_tables)
    return checkpoints


def _names_a_model(text: str) -> bool:
    """`a=b` is meant as MODEL=FILE unless there is a file of that name."""
    return "=" in text and not any(Path(file).expanduser().exists() for file in (text, text.rpartition("#")[0]) if file)
