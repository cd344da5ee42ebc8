"""`stmbench robustness`: what is left of accuracy when an adversary may change every pixel by a little."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import analyse, options, values

app = typer.Typer(add_completion=False)


@app.command(epilog="Stop it when you like: what was measured stays in --out, and the same command goes on from there.")
def robustness(
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
    num_images: analyse.NumImages = 56,
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attacks",
            metavar="NAMES",
            help="fgsm (needs no extra); torchattacks_fgsm, pgd, apgd (extra 'attacks'); all of these; or a mistake, "
            "fgsm_normalised. Comma-separated.",
        ),
    ] = None,
    eps: Annotated[
        list[str] | None,
        typer.Option("--eps", metavar="SIZES", help="Such as 8/255 or 0.03, comma-separated; default: the paper's."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Of attacks that iterate.")] = 10,
    resolution: analyse.Resolution = None,
    dtype: analyse.Dtype = "fp32",
    device: options.Device = "auto",
    batch_size: analyse.BatchSize = 16,
    workers: analyse.Workers = 0,
    limit_corrupt: analyse.LimitCorrupt = 10,
    seed: options.Seed = 0,
    fresh: analyse.Fresh = False,
    out: options.Out = Path("results/robustness"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Attack models: FGSM at several eps from one gradient, PGD and Auto-PGD; with checks, and McNemar's test.

    Without arguments: the five mixers at scale micro, untrained, on photographs, at eps 0.5/255, 2/255 and 8/255. On a
    set without labels the model's own prediction is attacked, and what is left of it is called consistency.
    """
    names = analyse.selection(
        ctx, models=models, mixers=mixers, scale=scale, architecture=architecture, plugins=plugin
    )  # fmt: skip
    from stmbench.analyses.robustness.analysis import Robustness
    from stmbench.analyses.robustness.attacks import SOUND
    from stmbench.analyses.robustness.config import RobustnessConfig
    from stmbench.analyses.robustness.eps import PAPER, eps_of
    from stmbench.figures.robustness import robustness_figures
    from stmbench.reporting.terminal.robustness import robustness_table
    from stmbench.tables import Store

    chosen = values.items(attacks) or ["fgsm"]
    sizes = values.items(eps) if eps is not None else PAPER
    config = RobustnessConfig(
        attacks=SOUND if chosen == ["all"] else tuple(chosen),
        eps=tuple(eps_of(text) for text in sizes),
        steps=steps,
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
        lambda listener: Robustness(config, request, Store(out), listener=listener),
        out=out,
        fresh=fresh,
        as_json=as_json,
        table=robustness_table,
        figures=robustness_figures,
    )
