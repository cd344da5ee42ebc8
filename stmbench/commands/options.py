"""Options that several commands share, with the names that completion offers (none of which needs torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import session, suggestions


def _set_debug(value: bool) -> bool:
    if value:
        session.current().debug = True
    return value


Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, is_eager=True, help="Show the traceback of an error.")
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file or folder that registers a mixer, a model or an analysis; it is run. Repeatable.",
        autocompletion=suggestions.python_files,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        "-m",
        metavar="NAMES",
        help="Models by name, comma-separated; shell patterns and timm:<name> too. Repeatable.",
        autocompletion=suggestions.models,
    ),
]
Mixers = Annotated[
    list[str] | None,
    typer.Option(
        "--mixers",
        "--mixer",
        metavar="NAMES",
        help="Mixers by name, comma-separated; default: the architecture's own and all plug-ins.",
        autocompletion=suggestions.mixers,
    ),
]
Scale = Annotated[
    str,
    typer.Option("--scale", metavar="SCALE", help=suggestions.SCALES_HELP, autocompletion=suggestions.scales),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The result store to write to.")]
Device = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", autocompletion=suggestions.devices),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="DTYPES", help="fp32, tf32, bf16, fp16, comma-separated.", autocompletion=suggestions.dtypes
    ),
]
LARGEST_SEED = 2**63 - 1  # what a column of the table holds
LARGEST_BATCH, MOST_THREADS = 2**20, 1024  # beyond any machine: a typing mistake
Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of weights, data and order.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else there.")]
