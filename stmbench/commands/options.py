"""Options that several commands share, and what shell completion offers for them.

Names come from light modules only: a Tab key press must not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stmbench.commands import session, values
from stmbench.commands.addresses import store_folder
from stmbench.commands.values import DTYPE_NAMES, SCALE_NAMES
from stmbench.errors import ConfigError
from stmbench.mixers import BUILTIN
from stmbench.tables.object_storage import is_address

if TYPE_CHECKING:
    from stmbench.analyses.match import Matching
    from stmbench.checkpoints.selection import Checkpoint

CLASS_MAPS = ("imagenet-1k", "imagenet-a", "imagenet-r", "imagenet-real", "imagenet-v2", "numbers")
DATASET_NAMES = ("digits", "photos", "shapes")


def _one_of(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def _list_of(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Completes the last item of a comma-separated list."""

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        return [f"{done}{comma}{name}" for name in names if name.startswith(last)]

    return complete


complete_scales = _one_of(SCALE_NAMES)
complete_devices = _one_of(("auto", "cpu", "cuda"))
complete_dtypes = _list_of(DTYPE_NAMES)
complete_weights = _one_of(("ema", "raw"))
complete_mixers = _list_of(BUILTIN)
complete_models = _list_of(tuple(f"unified_{mixer}_{scale}" for mixer in BUILTIN for scale in SCALE_NAMES))


def complete_baselines(incomplete: str) -> list[str]:
    """Mixers and models."""
    return complete_mixers(incomplete) + complete_models(incomplete)


def complete_classes(incomplete: str) -> list[str]:
    """Mappings by name, and files and folders that begin as typed."""
    return [name for name in CLASS_MAPS if name.startswith(incomplete)] + _paths(incomplete)


def complete_datasets(incomplete: str) -> list[str]:
    """Embedded sets, and files and folders that begin as typed."""
    return [name for name in DATASET_NAMES if name.startswith(incomplete)] + _paths(incomplete)


def complete_python_files(incomplete: str) -> list[str]:
    """Python files and folders that begin as typed."""
    return [path for path in _paths(incomplete) if path.endswith((".py", "/"))]


def _paths(incomplete: str) -> list[str]:
    typed = Path(incomplete)
    folder = typed if incomplete.endswith("/") else typed.parent
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [f"{path}/" if path.is_dir() else str(path) for path in paths if str(path).startswith(incomplete)]


def _set_debug(value: bool) -> bool:
    if value:
        session.current().debug = True
    return value


Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, is_eager=True, help="Show the traceback of an error.")
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="MODEL",
        help="What the others are compared with: a model, or its mixer; default: the control, else the first.",
        autocompletion=complete_baselines,
    ),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file or folder that registers a mixer, a model or an analysis; its code is run. Repeatable.",
        autocompletion=complete_python_files,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        "-m",
        metavar="NAMES",
        help="Models by name, comma-separated; shell patterns and timm:<name> are allowed. Repeatable.",
        autocompletion=complete_models,
    ),
]
Mixers = Annotated[
    list[str] | None,
    typer.Option(
        "--mixers",
        "--mixer",
        metavar="NAMES",
        help="Mixers by name, comma-separated; default: the architecture's own and all plug-ins.",
        autocompletion=complete_mixers,
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        "--scale",
        metavar="SCALE",
        help=f"Size of the models: {', '.join(SCALE_NAMES)}.",
        autocompletion=complete_scales,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="The result store to write to: a folder, or an address such as s3://bucket/store.",
        parser=store_folder,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Where models run: auto, cpu, cuda or cuda:N.",
        autocompletion=complete_devices,
    ),
]
LARGEST_SEED = 2**63 - 1  # what a column of the table holds
LARGEST_BATCH, MOST_THREADS = 2**20, 1024  # beyond any machine: a typing mistake
Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of random weights, data and order.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else there.")]

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
        help="Weights of a model (.pth, .pt, .safetensors); MODEL= may be omitted for a single model. KEY selects "
        "weights in a file that holds several. Repeatable. A folder such as results/train: the trainings there.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KIND",
        help="Which weights to take from files that hold them and their running average: ema or raw; default: ema.",
        autocompletion=complete_weights,
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
) -> tuple[str, ...]:
    """Models by name, or by scale, after loading plug-ins.

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
    return by_name(named) or by_scale(scale, mixers=values.items(mixers), architecture=architecture)


def matched(names: Sequence[str], quantity: str | None, note: Callable[[str], None]) -> Matching | None:
    """The models with mixers without a size of their own rescaled to the others', and `note` told about it; None where
    nothing is to be matched.

    Args:
        quantity: macs or params.

    Raises:
        InputError: another quantity, or no model to match the others to.
    """
    if quantity is None:
        return None
    from stmbench.analyses.match import match as match_models

    matching = match_models(names, quantity)
    for line in (*map(str, matching.matches), *matching.notes):
        note(line)
    return matching


def checkpoints_of(
    names: Sequence[str], texts: Sequence[str], weights: str | None = None, resize_tables: bool = False
) -> dict[str, Checkpoint]:
    """model -> checkpoint, from `MODEL=FILE[#KEY]`, from one `FILE[#KEY]` for the only model, or from a store of
    trainings for all.

    Raises:
        ConfigError: anything else.
    """
    for option, is_given in (("--weights", weights is not None), ("--resize-tables", resize_tables)):
        if is_given and not texts:
            raise ConfigError(f"--checkpoint with {option}", f"{option} alone", f"name a file, or leave {option} out")
    if not texts:
        return {}
    from stmbench.checkpoints.selection import Checkpoint

    if len(texts) == 1 and (is_address(texts[0]) or Path(texts[0]).expanduser().is_dir()):
        from stmbench.checkpoints.trained import trained_checkpoints
        from stmbench.tables.addresses import fetched_store

        return trained_checkpoints(fetched_store(texts[0]).expanduser(), names, weights=weights)
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
