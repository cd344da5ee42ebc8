"""`stmbench profile`: what models cost and how fast they run, measured side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, session, values
from stmbench.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.command(epilog="Stop it when you like: what was measured stays in --out, and the same command goes on from there.")
def profile(
    ctx: typer.Context,
    scale: options.Scale = "micro",
    models: options.Models = None,
    mixers: options.Mixers = None,
    architecture: Annotated[
        str, typer.Option("--architecture", metavar="NAME", help="The architecture the mixers are put into.")
    ] = "unified",
    plugin: options.Plugin = None,
    match: Annotated[
        str | None,
        typer.Option("--match", metavar="macs|params", help="Scale a mixer without a size of its own to the others'."),
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option("--resolution", metavar="SIZES", help="224 or 224x320 (H x W), comma-separated; default: design."),
    ] = None,
    batch_size: Annotated[
        str, typer.Option("--batch-size", metavar="N", help="Images in a batch, or auto: where throughput saturates.")
    ] = "auto",
    dtype: options.Dtype = "fp32",
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="infer, or train: forward, backward and AdamW step.")
    ] = "infer",
    level: Annotated[
        str, typer.Option("--level", metavar="LEVEL", help="model, or operator: the mixer alone, stage by stage.")
    ] = "model",
    timing: Annotated[
        bool, typer.Option("--timing/--no-timing", help="Without timing: parameters, MACs and activations alone.")
    ] = True,
    compiled: Annotated[bool, typer.Option("--compile", help="Time models compiled by torch.compile.")] = False,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Give weights and images in the channels_last format.")
    ] = False,
    device: options.Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=options.MOST_THREADS, help="CPU threads; default: torch's choice."),
    ] = None,
    images: Annotated[
        str, typer.Option("--images", metavar="KIND", help="noise, or photos: bundled photographs.")
    ] = "noise",
    target_width: Annotated[
        float, typer.Option("--target-width", help="Sample until the ratios' 95 % intervals are narrower than this.")
    ] = 0.03,
    time_budget: Annotated[
        float, typer.Option("--time-budget", help="... or for so many seconds a setting, 10 rounds at least.")
    ] = 120.0,
    seed: options.Seed = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what the store already holds.")] = False,
    out: options.Out = Path("results/profile"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Compare models: parameters, MACs, throughput, latency and memory, interleaved and with intervals.

    Without arguments: the five mixers at scale micro, on the GPU if there is one. --json prints one array of all rows
    of the run.
    """
    named = values.items(models)
    chosen_by = values.given(ctx, "scale", "mixers", "architecture")
    if named and chosen_by:
        raise ConfigError("models by name or by scale", f"--models and --{chosen_by[0]}", "leave one out")
    values.scale(scale)
    dtypes = tuple(values.dtypes(dtype))
    sizes = None if resolution is None else tuple(values.resolutions(resolution))
    batch = _batch_size(batch_size)

    from stmbench.analyses.profile.config import ProfileConfig
    from stmbench.analyses.selection import by_name, by_scale
    from stmbench.commands.profile_output import Output
    from stmbench.mixers.plugins import load_plugins, loaded_files

    load_plugins(plugin or ())
    names = by_name(named) or by_scale(scale, mixers=values.items(mixers), architecture=architecture)
    output = Output(out, as_json=as_json)
    if match is not None:
        names = output.matched(names, match)
    config = ProfileConfig(
        models=names,
        mode=mode,
        level=level,
        resolutions=sizes,
        batch_size=batch,
        dtypes=dtypes,
        compile=compiled,
        channels_last=channels_last,
        device=values.device(device),
        threads=threads,
        seed=seed,
        timing=timing,
        target_width=target_width,
        time_budget=time_budget,
        images=images,
        plugins=tuple(str(path) for path in loaded_files()),
    )
    session.keep(f"what was measured stays in {out}, and the same command goes on from there")
    output.run(config, fresh=fresh)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    expected = f"a batch size from 1 to {options.LARGEST_BATCH}, or auto"
    return values.whole(text, expected, "change --batch-size", least=1, most=options.LARGEST_BATCH)
