"""`stmbench erf`: which pixels the central unit of each stage depends on, and how large that region is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import analyse, options, values
from stmbench.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command(epilog="Stop it when you like: finished models stay in --out, and the same command goes on.")
def erf(
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
    num_images: analyse.NumImages = 28,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stages", metavar="NUMBERS", help="Stages from 1, comma-separated; default: all."),
    ] = None,
    percent: Annotated[
        list[str] | None,
        typer.Option("--percent", metavar="NUMBERS", help="Shares of the map's mass, such as 50,90; default: 50."),
    ] = None,
    definition: Annotated[
        list[str] | None,
        typer.Option(
            "--definition", metavar="NAME", help="What the table and the figures show; the store gets all of them."
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
    out: options.Out = Path("results/erf"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Effective receptive fields of each stage: gradient maps, and ERF@50 with intervals over images.

    Without arguments: the five mixers at scale micro, untrained, on photographs. What an untrained model looks at says
    nothing about a trained one: give weights with --checkpoint.
    """
    named = values.items(definition)
    if len(named) > 1:
        raise ConfigError(
            "one definition to show", ", ".join(named), "run the command again for the other: it is quick"
        )
    numbers = tuple(_number(text, "a stage such as 3", "--stages") for text in values.items(stages))
    if not all(number.is_integer() and number >= 1 for number in numbers):
        raise ConfigError("stages that are whole numbers from 1", ", ".join(values.items(stages)), "change --stages")
    percents = tuple(_number(text, "a percentage such as 50", "--percent") for text in values.items(percent))
    names = analyse.selection(ctx, models=models, mixers=mixers, scale=scale, architecture=architecture, plugins=plugin)
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
    from stmbench.analyses.erf.analysis import Erf
    from stmbench.analyses.erf.config import ErfConfig
    from stmbench.analyses.erf.definitions import OURS, definitions
    from stmbench.figures.erf.figures import erf_figures
    from stmbench.reporting.terminal.erf import erf_table
    from stmbench.tables import Store, read

    shown = definitions(tuple(named))[0].name if named else OURS
    config = ErfConfig(
        stages=tuple(sorted({int(number) - 1 for number in numbers})) or None, percents=percents or (50.0,)
    )
    analyse.run(
        lambda listener: Erf(config, request, Store(out), listener=listener),
        out=out,
        fresh=fresh,
        as_json=as_json,
        table=lambda frame: erf_table(frame, shown),
        figures=lambda frame: erf_figures(frame, shown, out, beside=read(out)),
        shown=shown,
    )


def _number(text: str, expected: str, option: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(expected, repr(text), f"change {option}") from error
