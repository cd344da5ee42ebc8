"""`stmbench eval`: how often models are right on a labelled set, and how well they know it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import analyse, options

app = typer.Typer(add_completion=False)


@app.command(name="eval", epilog="Stop it when you like: finished models stay in --out, and the same command goes on.")
def evaluate(
    ctx: typer.Context,
    scale: options.Scale = "micro",
    models: options.Models = None,
    mixers: options.Mixers = None,
    architecture: analyse.Architecture = "unified",
    plugin: options.Plugin = None,
    checkpoint: analyse.Checkpoints = None,
    weights: analyse.Weights = None,
    resize_tables: analyse.ResizeTables = False,
    dataset: analyse.Dataset = "digits",
    split: analyse.Split = "test",
    classes: analyse.Classes = None,
    labels: analyse.Labels = None,
    num_images: analyse.NumImages = None,
    resolution: analyse.Resolution = None,
    keep_predictions: Annotated[
        bool, typer.Option("--keep-predictions", help="Keep what was predicted for each image, as Parquet files.")
    ] = False,
    batch_size: analyse.BatchSize = 32,
    workers: analyse.Workers = 0,
    limit_corrupt: analyse.LimitCorrupt = 10,
    device: options.Device = "auto",
    dtype: analyse.Dtype = "fp32",
    seed: options.Seed = 0,
    fresh: analyse.Fresh = False,
    out: options.Out = Path("results/eval"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Top-1 and top-5 accuracy, calibration error, likelihood, with intervals over images.

    Without arguments: the five mixers at scale micro, untrained, on the test digits. All images are used unless
    --num-images says otherwise.
    """
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
    from stmbench.analyses.evaluation import Evaluation
    from stmbench.figures.evaluation import evaluation_figures
    from stmbench.reporting.terminal.evaluation import evaluation_table
    from stmbench.tables import Store

    analyse.run(
        lambda listener: Evaluation(request, Store(out), keep_predictions=keep_predictions, listener=listener),
        out=out,
        fresh=fresh,
        as_json=as_json,
        table=evaluation_table,
        figures=evaluation_figures,
    )
