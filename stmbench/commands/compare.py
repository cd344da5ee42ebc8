"""`stmbench compare`: whether head is worse than base, from two stores or by running both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, session, values
from stmbench.errors import ConfigError, UnknownNameError

app = typer.Typer(add_completion=False)
FORMATS = ("terminal", "markdown", "json")
LIVE_ONLY = (
    *("models", "mixers", "scale", "architecture", "plugin", "resolution", "batch_size", "dtype", "device"),
    *("threads", "clock", "time_budget", "confirm", "plant", "samples"),
)


@app.command(epilog="Exit codes: 0, no regression; 1, a regression; 2, bad input; 3 with --strict, inconclusive.")
def compare(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="A store; with --live a checkout or an environment.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The same kind: the version compared with BASE.")],
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="FOLDER", help="BASE and HEAD are commits of this history."),
    ] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", metavar="ID", help="Required if several machines measured both.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Run both alternately, round by round.")] = False,
    margin: Annotated[
        float | None,
        typer.Option("--margin", help="Relative change of a time that matters; default: 0.03 live, else 0.15."),
    ] = None,
    quality_margin: Annotated[
        float, typer.Option("--quality-margin", help="Change of an accuracy that matters: 0.005 is half a point.")
    ] = 0.005,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 3 if anything is inconclusive or failed.")
    ] = False,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="terminal, markdown (for a pull request), json.")
    ] = "terminal",
    models: options.Models = None,
    mixers: options.Mixers = None,
    scale: options.Scale = "micro",
    architecture: Annotated[
        str, typer.Option("--architecture", metavar="NAME", help="Architecture for the mixers.")
    ] = "unified",
    plugin: options.Plugin = None,
    resolution: Annotated[
        str | None, typer.Option("--resolution", metavar="SIZE", help="224 or 224x320 (H x W); default: design.")
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, max=options.LARGEST_BATCH, help="Images per batch."),
    ] = 4,
    dtype: Annotated[str, typer.Option("--dtype", metavar="DTYPE", help="fp32, tf32, bf16 or fp16.")] = "fp32",
    device: options.Device = "auto",
    threads: Annotated[
        int, typer.Option("--threads", min=1, max=options.MOST_THREADS, help="CPU threads per side.")
    ] = 1,
    clock: Annotated[
        str, typer.Option("--clock", metavar="CLOCK", help="auto, wall, or processor: one thread's time on the CPU.")
    ] = "auto",
    time_budget: Annotated[
        float, typer.Option("--time-budget", help="Limit on the seconds of sampling per model.")
    ] = 60.0,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Measure suspected regressions again, in fresh processes.")
    ] = False,
    samples: Annotated[
        Path | None, typer.Option("--samples", metavar="FILE", help="Write every round of a live comparison as CSV.")
    ] = None,
    plant: Annotated[
        float,
        typer.Option("--plant", metavar="SHARE", help="Slow head down by this share, to test whether it is detected."),
    ] = 0.0,
    seed: options.Seed = 0,
    debug: options.Debug = False,
) -> None:
    """Report for each model and metric whether HEAD is worse than BASE, better, the same, or inconclusive.

    Of two stores, or two commits of a --history: speed (large changes only), quality, and costs.

    With --live: speed, down to a few percent, of two checkouts, environments, or folders with a --plugin.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    if not live:
        given = values.given(ctx, *LIVE_ONLY)
        if given:
            raise ConfigError("--live beside options of a live comparison", f"--{given[0].replace('_', '-')}", "add it")
        from stmbench.comparison.stored import SPEED_MARGIN, StoredConfig, compare_stores

        config = StoredConfig(
            speed_margin=SPEED_MARGIN if margin is None else margin, quality_margin=quality_margin, seed=seed
        )
        comparison = compare_stores(*_stores(base, head, history, machine), config)
    else:
        if history is not None or machine is not None:
            raise ConfigError("a history without --live", "both", "leave one out")
        named = values.items(models)
        chosen_by = values.given(ctx, "scale", "mixers", "architecture")
        if named and chosen_by:
            raise ConfigError("models by name or by scale", f"--models and --{chosen_by[0]}", "leave one out")
        values.scale(scale)
        sizes = None if resolution is None else values.resolutions(resolution)
        if sizes is not None and len(sizes) != 1:
            raise ConfigError("one resolution", repr(resolution), "compare again for the other")
        if len(values.dtypes(dtype)) != 1:
            raise ConfigError("one dtype", repr(dtype), "compare again for the other")

        from stmbench.architectures.model_names import is_pattern
        from stmbench.commands.compare_output import live_comparison
        from stmbench.comparison.sampling import LiveConfig
        from stmbench.comparison.worker_process import code_version

        sides = [code_version(text, plugin or ()) for text in (base, head)]
        # models that are named need not be known here: head may have brought them in
        if not named or any(map(is_pattern, named)):
            from stmbench.analyses.models import by_name, by_scale
            from stmbench.plugins import load_plugins

            load_plugins(sides[1].plugins)
            named = list(by_name(named) or by_scale(scale, mixers=values.items(mixers), architecture=architecture))
        request = LiveConfig(
            models=tuple(named),
            batch_size=batch_size,
            resolution=None if sizes is None else sizes[0],
            dtype=dtype,
            device=values.device(device),
            threads=threads,
            clock=clock,
            seconds=time_budget,
            margin=0.03 if margin is None else margin,
            confirm=confirm,
            plant=plant,
            seed=seed,
        )
        session.keep("both workers were ended, and nothing was written")
        comparison = live_comparison(sides[0], sides[1], request, samples)

    from stmbench.commands.compare_output import show

    show(comparison, format)
    raise typer.Exit(comparison.exit_code(strict=strict))


def _stores(base: str, head: str, history: Path | None, machine: str | None) -> tuple[Path, Path]:
    if history is None:
        if machine is not None:
            raise ConfigError("--machine beside --history", "--machine alone", "add --history")
        return Path(base), Path(head)
    from stmbench.history.folder import History
    from stmbench.history.selection import stores_of

    return stores_of(History(history), base, head, machine)
