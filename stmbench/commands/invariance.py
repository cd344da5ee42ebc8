"""`stmbench invariance translation|rotation|scale`: does a prediction stay when the image is moved, turned, scaled?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stmbench.commands import analyse, options, values
from stmbench.commands.group import SuggestingGroup
from stmbench.errors import ConfigError

app = typer.Typer(add_completion=False, cls=SuggestingGroup, no_args_is_help=True)
EPILOG = "Stop it when you like: finished models stay in --out, and the same command goes on."
NUM_IMAGES = 56

Levels = Annotated[
    list[str] | None,
    typer.Option("--levels", metavar="NUMBERS", help="Comma-separated; default: those of the definition."),
]
Pad = Annotated[
    str,
    typer.Option("--pad", metavar="HOW", help="Where the image ends: none (levels are left out), zeros or reflect."),
]
Definition = Annotated[
    str, typer.Option("--definition", metavar="NAME", help="stmbench.v1, paper.v1 or authors_code.v1.")
]


@app.callback()
def invariance() -> None:
    """Consistency and accuracy under translation, rotation and scale, level by level, with intervals over images."""


@app.command(epilog=EPILOG)
def translation(
    ctx: typer.Context,
    scale: options.Scale = "micro",
    models: options.Models = None,
    mixers: options.Mixers = None,
    architecture: analyse.Architecture = "unified",
    plugin: options.Plugin = None,
    checkpoint: analyse.Checkpoints = None,
    weights: analyse.Weights = None,
    resize_tables: analyse.ResizeTables = False,
    dataset: analyse.Dataset = "photos",
    split: analyse.Split = "test",
    classes: analyse.Classes = None,
    labels: analyse.Labels = None,
    num_images: analyse.NumImages = NUM_IMAGES,
    levels: Levels = None,
    pad: Pad = "none",
    definition: Definition = "stmbench.v1",
    resolution: analyse.Resolution = None,
    dtype: analyse.Dtype = "fp32",
    device: options.Device = "auto",
    batch_size: analyse.BatchSize = 16,
    workers: analyse.Workers = 0,
    limit_corrupt: analyse.LimitCorrupt = 10,
    seed: options.Seed = 0,
    fresh: analyse.Fresh = False,
    out: options.Out = Path("results/invariance"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Move the crop inside the resized image by 0 to 64 pixels, in one of eight directions for each image.

    A true shift: levels that the images are too small for are reported, or padded with --pad reflect.
    """
    _run("translation", ctx, dict(ctx.params), pad=pad)


@app.command(epilog=EPILOG)
def rotation(
    ctx: typer.Context,
    scale: options.Scale = "micro",
    models: options.Models = None,
    mixers: options.Mixers = None,
    architecture: analyse.Architecture = "unified",
    plugin: options.Plugin = None,
    checkpoint: analyse.Checkpoints = None,
    weights: analyse.Weights = None,
    resize_tables: analyse.ResizeTables = False,
    dataset: analyse.Dataset = "photos",
    split: analyse.Split = "test",
    classes: analyse.Classes = None,
    labels: analyse.Labels = None,
    num_images: analyse.NumImages = NUM_IMAGES,
    levels: Levels = None,
    order: Annotated[str, typer.Option("--order", metavar="ORDER", help="Turn before or after the crop.")] = "before",
    pad: Pad = "none",
    definition: Definition = "stmbench.v1",
    resolution: analyse.Resolution = None,
    dtype: analyse.Dtype = "fp32",
    device: options.Device = "auto",
    batch_size: analyse.BatchSize = 16,
    workers: analyse.Workers = 0,
    limit_corrupt: analyse.LimitCorrupt = 10,
    seed: options.Seed = 0,
    fresh: analyse.Fresh = False,
    out: options.Out = Path("results/invariance"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Turn the image about the crop's centre by 0 to 45 degrees, bicubic, before or after the crop."""
    _run("rotation", ctx, dict(ctx.params), pad=pad, order=order)


@app.command(name="scale", epilog=EPILOG)
def scale_(
    ctx: typer.Context,
    scale: options.Scale = "micro",
    models: options.Models = None,
    mixers: options.Mixers = None,
    architecture: analyse.Architecture = "unified",
    plugin: options.Plugin = None,
    checkpoint: analyse.Checkpoints = None,
    weights: analyse.Weights = None,
    resize_tables: analyse.ResizeTables = False,
    dataset: analyse.Dataset = "photos",
    split: analyse.Split = "test",
    classes: analyse.Classes = None,
    labels: analyse.Labels = None,
    num_images: analyse.NumImages = NUM_IMAGES,
    levels: Levels = None,
    pad: Pad = "none",
    definition: Definition = "stmbench.v1",
    resolution: analyse.Resolution = None,
    dtype: analyse.Dtype = "fp32",
    device: options.Device = "auto",
    batch_size: analyse.BatchSize = 16,
    workers: analyse.Workers = 0,
    limit_corrupt: analyse.LimitCorrupt = 10,
    seed: options.Seed = 0,
    fresh: analyse.Fresh = False,
    out: options.Out = Path("results/invariance"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Crop a quarter to the whole of the image's shorter side and resize it: objects appear larger or smaller."""
    _run("scale", ctx, dict(ctx.params), pad=pad)


def _run(kind: Any, ctx: typer.Context, given: dict[str, Any], *, pad: str, order: str = "before") -> None:
    levels = tuple(_number(text) for text in values.items(given["levels"]))
    names = analyse.selection(
        ctx,
        models=given["models"],
        mixers=given["mixers"],
        scale=given["scale"],
        architecture=given["architecture"],
        plugins=given["plugin"],
    )
    from stmbench.analyses.invariance.analysis import Invariance
    from stmbench.analyses.invariance.config import InvarianceConfig
    from stmbench.figures.invariance import invariance_figures
    from stmbench.reporting.terminal.invariance import invariance_table
    from stmbench.tables import Store

    options_of_ours: Any = {"fill": pad, "order": order}  # checked by the config
    config = InvarianceConfig(kind=kind, protocol=given["definition"], levels=levels or None, **options_of_ours)
    taken = ("dataset", "split", "classes", "labels", "num_images", "resolution", "seed", "device", "dtype")
    request = analyse.request(
        ctx,
        names,
        checkpoints=given["checkpoint"],
        weights=given["weights"],
        resize_tables=given["resize_tables"],
        batch_size=given["batch_size"],
        workers=given["workers"],
        limit_corrupt=given["limit_corrupt"],
        **{name: given[name] for name in taken},
    )
    out = Path(given["out"])
    analyse.run(
        lambda listener: Invariance(config, request, Store(out), listener=listener),
        out=out,
        fresh=given["fresh"],
        as_json=given["as_json"],
        table=invariance_table,
        figures=invariance_figures,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError("levels that are numbers, such as 0,8,16", repr(text), "change --levels") from error
