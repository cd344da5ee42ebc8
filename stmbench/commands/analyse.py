"""What the commands that show images to models share: options, the request they add up to, and the run.

selection(...)  which models
request(...)    models, weights and images
run(...)        the analysis with its progress, then table or JSON, figures, warnings
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stmbench.commands import options, session, suggestions, values
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from stmbench.analyses.base import Analysis
    from stmbench.analyses.images import ImageRequest
    from stmbench.checkpoints.selection import Checkpoint

Architecture = Annotated[
    str, typer.Option("--architecture", metavar="NAME", help="The architecture the mixers are put into.")
]
Checkpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        metavar="[MODEL=]FILE[#KEY]",
        help="Weights of a model (.pth, .pt, .safetensors); without MODEL=, of the only one. KEY is their place in a "
        "file that holds several. Can be given again.",
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
        help="Resize a checkpoint's tables of positions where the model's window or resolution is another.",
    ),
]
Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        metavar="SET",
        help="digits, photos, shapes, or a path: class folders, ImageNet, tar shards, a saved Hugging Face data set.",
        autocompletion=suggestions.datasets,
    ),
]
Split = Annotated[str, typer.Option("--split", metavar="NAME", help="Of the data set; on disk 'test' finds 'val' too.")]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="FILE|WORD",
        help="Which of the model's outputs a class is: a CSV or JSON file (name, index), imagenet-1k, imagenet-a, "
        "imagenet-r, imagenet-real, imagenet-v2, or numbers (a class's name is the index).",
        autocompletion=suggestions.classes,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", help="A CSV file (image, label) with the labels of a folder's images."),
]
NumImages = Annotated[
    int | None,
    typer.Option("--num-images", metavar="N", help="Images, balanced over the classes and drawn by --seed."),
]
Resolution = Annotated[
    str | None, typer.Option("--resolution", metavar="SIZE", help="224 or 224x320 (H x W); default: the model's own.")
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", metavar="N", min=1, max=options.LARGEST_BATCH, help="Images in a batch.")
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        metavar="N",
        min=0,
        max=options.MOST_THREADS,
        help="Threads that decode images ahead; 0: when asked.",
    ),
]
LimitCorrupt = Annotated[
    int, typer.Option("--limit-corrupt", metavar="N", min=0, help="Images that cannot be read and may be skipped.")
]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="DTYPE", help="fp32, tf32, bf16 or fp16.", autocompletion=suggestions.dtypes)
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure again what the store already holds.")]


def selection(
    ctx: typer.Context,
    *,
    models: Sequence[str] | None,
    mixers: Sequence[str] | None,
    scale: str,
    architecture: str,
    plugins: Sequence[Path] | None,
) -> tuple[str, ...]:
    """Models by name, or by scale, after loading plug-ins. Raises ConfigError where both are asked for."""
    named = values.items(models)
    chosen_by = values.given(ctx, "scale", "mixers", "architecture")
    if named and chosen_by:
        raise ConfigError("models by name or by scale", f"--models and --{chosen_by[0]}", "leave one out")
    values.scale(scale)
    from stmbench.analyses.selection import by_name, by_scale
    from stmbench.mixers.plugins import load_plugins

    load_plugins(plugins or ())
    return by_name(named) or by_scale(scale, mixers=values.items(mixers), architecture=architecture)


def request(
    ctx: typer.Context,
    names: Sequence[str],
    *,
    checkpoints: Sequence[str] | None,
    weights: str | None = None,
    resize_tables: bool = False,
    dataset: str,
    split: str = "test",
    classes: str | None = None,
    labels: Path | None = None,
    num_images: int | None,
    resolution: str | None = None,
    seed: int,
    device: str,
    dtype: str,
    batch_size: int = 32,
    workers: int = 0,
    limit_corrupt: int = 10,
) -> ImageRequest:
    """The request that these options add up to."""
    dtypes = values.dtypes(dtype)
    sizes = None if resolution is None else values.resolutions(resolution)
    if len(dtypes) > 1:
        raise ConfigError("one dtype", repr(dtype), "run the command once for each")
    if sizes is not None and len(sizes) > 1:
        raise ConfigError("one resolution", repr(resolution), "run the command once for each")
    from stmbench.analyses.images import ImageRequest

    return ImageRequest(
        models=tuple(names),
        checkpoints=checkpoints_of(names, checkpoints or (), weights, resize_tables),
        dataset=dataset,
        split=split,
        classes=classes,
        labels=labels,
        num_images=num_images,
        or_fewer=not values.given(ctx, "num_images"),
        resolution=None if sizes is None else sizes[0],
        seed=seed,
        device=values.device(device),
        dtype=dtypes[0],
        batch_size=batch_size,
        workers=workers,
        limit_corrupt=limit_corrupt,
    )


def run(
    make: Callable[[Any], Analysis],
    *,
    out: Path,
    fresh: bool,
    as_json: bool,
    table: Callable[[pd.DataFrame], RenderableType],
    figures: Callable[[pd.DataFrame], Mapping[str, Figure]] | None = None,
    shown: str | None = None,
) -> None:
    """Run an analysis and show what came of it.

    Args:
        make: listener -> the analysis, which has `out` as its store's folder.
        table: the run's rows as something that Rich prints.
        figures: the run's rows as figures by name, saved in OUT/figures.
        shown: the definition that figures are drawn by, where the rows have several.

    Raises:
        InputError, typer.Exit: after everything was shown, where not one unit of work could be done, or some failed.
    """
    from stmbench.commands.analyse_output import Output

    session.keep(f"what was measured stays in {out}, and the same command goes on from there")
    Output(out, as_json=as_json, shown=shown).run(make, table, figures, fresh=fresh)


def checkpoints_of(
    names: Sequence[str], texts: Sequence[str], weights: str | None = None, resize_tables: bool = False
) -> dict[str, Checkpoint]:
    """model -> checkpoint, from `MODEL=FILE[#KEY]`, or from one `FILE[#KEY]` for the only model.

    Raises:
        ConfigError: anything else.
    """
    from stmbench.checkpoints.selection import Checkpoint

    for option, is_given in (("--weights", weights is not None), ("--resize-tables", resize_tables)):
        if is_given and not texts:
            raise ConfigError(f"--checkpoint beside {option}", f"{option} alone", f"name a file, or leave {option} out")
    found: dict[str, Checkpoint] = {}
    for text in texts:
        name = next((name for name in names if text.startswith(f"{name}=")), None)
        if name is None and len(names) == 1 and (len(texts) == 1 and not _names_a_model(text)):
            name, file = names[0], text
        elif name is None:
            remedy = f"write MODEL=FILE with one of {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            raise ConfigError("a checkpoint of a model of this run", repr(text), remedy)
        else:
            file = text.removeprefix(f"{name}=")
        if name in found:
            raise ConfigError("one checkpoint for each model", f"two for {name}", "leave one out")
        found[name] = Checkpoint.parse(file, weights=weights, resize_tables=resize_tables)
    return found


def _names_a_model(text: str) -> bool:
    """`a=b` is meant as MODEL=FILE unless there is a file of that name."""
    return "=" in text and not any(Path(file).expanduser().exists() for file in (text, text.rpartition("#")[0]) if file)
