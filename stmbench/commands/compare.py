"""`stmbench compare`: whether head is worse than base, from two stores or by running both."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stmbench.commands import options, session, terminal, values
from stmbench.commands.addresses import fetch, store_folder
from stmbench.errors import ConfigError, OutputError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.comparison.live import Live
    from stmbench.comparison.sampling import LiveConfig
    from stmbench.comparison.worker_process import CodeVersion
    from stmbench.tables.comparison_result import Comparison

app = typer.Typer(add_completion=False)
FORMATS = ("terminal", "markdown", "json")
LIVE_ONLY = (
    *("models", "mixers", "scale", "architecture", "plugin", "resolution", "batch_size", "dtype", "device"),
    *("threads", "clock", "time_budget", "confirm", "plant", "samples"),
)

COLUMNS = ("model", "attempt", "round", "side", "place", "passes", "kind", "wall_seconds", "processor_seconds")


@app.command(epilog="Exit codes: 0, no regression; 1, a regression; 2, bad input; 3 with --strict, inconclusive.")
def compare(
    ctx: typer.Context,
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="A result store; with --live, a checkout or an environment.")
    ],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The version compared with BASE, given in the same way.")],
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="FOLDER", help="Take BASE and HEAD as commits of this history."),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            "--machine",
            metavar="ID",
            help="The machine whose records are compared; required if several measured both commits.",
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Run both versions alternately, round by round.")] = False,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin", help="Smallest relative change of a time that matters; default: 0.03 with --live, else 0.15."
        ),
    ] = None,
    quality_margin: Annotated[
        float,
        typer.Option("--quality-margin", help="Smallest change of an accuracy that matters: 0.005 is half a point."),
    ] = 0.005,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 3 if anything is inconclusive or failed.")
    ] = False,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="terminal, markdown (for a pull request) or json.")
    ] = "terminal",
    models: options.Models = None,
    mixers: options.Mixers = None,
    scale: options.Scale = "micro",
    architecture: Annotated[
        str, typer.Option("--architecture", metavar="NAME", help="The architecture the mixers are put into.")
    ] = "unified",
    plugin: options.Plugin = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            "--resolution", metavar="SIZE", help="Image size: 224, or 224x320 (H x W); default: the model's own."
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, max=options.LARGEST_BATCH, help="Images per batch."),
    ] = 4,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="DTYPE", help="Number format: fp32, tf32, bf16 or fp16.")
    ] = "fp32",
    device: options.Device = "auto",
    threads: Annotated[
        int, typer.Option("--threads", min=1, max=options.MOST_THREADS, help="CPU threads of each version.")
    ] = 1,
    clock: Annotated[
        str,
        typer.Option(
            "--clock", metavar="CLOCK", help="The time measured: wall, processor (of one thread on the CPU) or auto."
        ),
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
        comparison = _live_comparison(sides[0], sides[1], request, samples)

    _show(comparison, format)
    raise typer.Exit(comparison.exit_code(strict=strict))


def _stores(base: str, head: str, history: Path | None, machine: str | None) -> tuple[Path, Path]:
    if history is None:
        if machine is not None:
            raise ConfigError("--machine beside --history", "--machine alone", "add --history")
        folders = store_folder(base), store_folder(head)
        fetch()
        return folders
    from stmbench.history.folder import History, stores_of

    return stores_of(History(history), base, head, machine)


def _live_comparison(base: CodeVersion, head: CodeVersion, config: LiveConfig, samples: Path | None) -> Comparison:
    """Run both versions with a progress line; write the rounds if `samples` is given.

    Raises:
        OutputError: `samples` cannot be written; raised before anything is measured.
    """
    from rich.console import Console

    from stmbench.comparison.live import Live

    if samples is not None:
        _write(samples, "")
    with terminal.ProgressLine(Console(stderr=True)) as progress:
        live = Live(base, head, config, listener=progress)
        comparison = live.run()
    if samples is not None:
        _write(samples, _rounds_as_csv(live))
    return comparison


def _rounds_as_csv(live: Live) -> str:
    """Two rows per side and round: the probe and the passes."""
    from stmbench.comparison.sampling import SIDES

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (attempt, model), samples in live.samples.items():
        for number, round_ in enumerate(samples.rounds):
            for index, side in enumerate(SIDES):
                place = int(round_.first != side)
                for kind, seconds in (("probe", round_.probe), ("passes", round_.passes)):
                    writer.writerow((model, attempt, number, side, place, samples.passes, kind, *seconds[index]))
    return text.getvalue()


def _show(comparison: Comparison, format: str) -> None:
    """Print the comparison to standard output."""
    from stmbench.reporting import comparison as pages

    if format == "json":
        terminal.echo(pages.as_json(comparison))
    elif format == "markdown":
        terminal.echo(pages.markdown(comparison), nl=False)
    else:
        # a pipe has no width: use the one that the table is designed for
        terminal.console(terminal.TABLE_WIDTH).print(pages.terminal(comparison))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "choose another --samples") from error
