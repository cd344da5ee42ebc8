"""`stmbench affinity`: which positions each output position looks at, as maps and in numbers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import analyse, options, values
from stmbench.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command(epilog="Stop it when you like: what was measured stays in --out, and the same command goes on from there.")
def affinity(
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
    num_images: analyse.NumImages = 8,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers", metavar="LAYERS", help="Of the maps: first, last, all, numbers from 1, or STAGE.BLOCK."
        ),
    ] = None,
    positions: Annotated[
        list[str] | None,
        typer.Option(
            "--positions",
            metavar="POSITIONS",
            help="Of the maps: numbers from 0, row by row on the layer's map; default: 25, 50, 90, 100 of a 14 x 14 "
            "map, put at the same place of any other.",
        ),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option("--heads", metavar="HEADS", help="Of the maps: mean (the default), all, or numbers from 0."),
    ] = None,
    per_image: Annotated[
        bool, typer.Option("--per-image", help="Keep the maps of every image instead of their mean.")
    ] = False,
    radii: Annotated[
        list[str] | None,
        typer.Option("--radii", metavar="TOKENS", help="How far is near, in tokens; default 1.5, 3.5, 7."),
    ] = None,
    jacobian: Annotated[
        str | None,
        typer.Option(
            "--jacobian",
            metavar="WHAT",
            help="mixer or block: norms of its Jacobian at the chosen layers and positions, for any mixer.",
        ),
    ] = None,
    resolution: analyse.Resolution = None,
    dtype: analyse.Dtype = "fp32",
    device: options.Device = "auto",
    batch_size: analyse.BatchSize = 8,
    workers: analyse.Workers = 0,
    limit_corrupt: analyse.LimitCorrupt = 10,
    seed: options.Seed = 0,
    fresh: analyse.Fresh = False,
    out: options.Out = Path("results/affinity"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Where mixers look: affinity maps, mean attention distance, entropy, locality, of every layer and head.

    Without arguments: the five mixers at scale micro, untrained, on 8 photographs. Numbers are taken of all layers;
    maps of --layers, --positions and --heads.
    """
    names = analyse.selection(
        ctx, models=models, mixers=mixers, scale=scale, architecture=architecture, plugins=plugin
    )  # fmt: skip
    from stmbench.analyses.affinity.analysis import AffinityAnalysis
    from stmbench.analyses.affinity.config import AffinityConfig
    from stmbench.figures.affinity.figures import affinity_figures
    from stmbench.reporting.terminal.affinity import affinity_table
    from stmbench.tables import Store

    asked = {
        "positions": _integers(positions, "--positions"),
        "layers": tuple(values.items(layers)) or None,
        "heads": tuple(values.items(heads)) or None,
        "radii": _numbers(radii, "--radii"),
    }
    config = AffinityConfig(
        per_image=per_image,
        jacobian=jacobian,  # type: ignore[arg-type]  # the config checks it
        **{name: value for name, value in asked.items() if value is not None},  # type: ignore[arg-type]
    )
    request = analyse.request(
        ctx,
        names,
        checkpoints=checkpoint,
        weights=weights,
        resize_tables=resize_tables,
        dataset=dataset,
        split=split,
        classes=classes,
        labels=labels,
        num_images=num_images,
        resolution=resolution,
        seed=seed,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        workers=workers,
        limit_corrupt=limit_corrupt,
    )
    analyse.run(
        lambda listener: AffinityAnalysis(config, request, Store(out), listener=listener),
        out=out,
        fresh=fresh,
        as_json=as_json,
        table=affinity_table,
        figures=functools.partial(affinity_figures, folder=out),
    )


def _integers(texts: list[str] | None, option: str) -> tuple[int, ...] | None:
    """The items as integers. Raises ConfigError for anything else."""
    if texts is None:
        return None
    found = values.items(texts)
    for text in found:
        if not (text.isascii() and text.isdigit()):
            raise ConfigError("whole numbers of at least 0", repr(text), f"change {option}")
    return tuple(map(int, found))


def _numbers(texts: list[str] | None, option: str) -> tuple[float, ...] | None:
    """The items as numbers. Raises ConfigError for anything else."""
    if texts is None:
        return None
    try:
        return tuple(float(text) for text in values.items(texts))
    except ValueError as error:
        raise ConfigError("numbers", repr(",".join(texts)), f"change {option}") from error
