"""`stmbench train`: models trained by a recipe; their weights are files, their curves rows of the table."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from stmbench.commands import options, session, values
from stmbench.commands.addresses import shown
from stmbench.commands.analysis_command import DryRun, Fresh, Positional, field_parameter, parameter
from stmbench.errors import ConfigError, StmbenchError
from stmbench.training.options import LARGEST_SEED, TrainOptions

EPILOG = (
    "Stop it at any time: the same command resumes where it left off. Several processes: torchrun -m stmbench train"
)
app = typer.Typer(add_completion=False)


def train(ctx: typer.Context, **words: Any) -> None:
    """Train models with the recipes of the papers or of the embedded sets.

    Without arguments: the five mixers at scale nano on the embedded digits, a minute or so each. Checkpoints are under
    OUT/checkpoints and can be given to every other command with --checkpoint.
    """
    chosen = _chosen({field.name: words[field.name] for field in dataclasses.fields(TrainOptions)})
    with session.importing():
        import torch

        from stmbench.analyses.base import Listener
        from stmbench.analyses.options import RunSettings
        from stmbench.analyses.registry import ANALYSES
        from stmbench.commands.analysis_output import Output
        from stmbench.experiments.estimating import estimate
        from stmbench.tables import Store
        from stmbench.training.analysis import Training
        from stmbench.training.distributed import join, leave

    out: Path = words["out"]
    models = [*(words["models"] or ()), *(words["named"] or ())]
    chosen_by = {name: words[name] for name in ("mixers", "scale", "architecture")}
    names = options.selection(ctx, models=models, plugins=words["plugin"], **chosen_by)

    runs = chosen.runs(names)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    group = join(values.device(words["device"]))
    session.keep(f"what was trained stays in {shown(out)}, and the same command resumes from there")
    try:
        if not group.is_first:
            chosen.training(runs, Store(out), group=group, fresh=words["fresh"]).follow()
            return
        made: list[Training] = []

        def make(store: Store, listener: Listener) -> Training:
            made.append(chosen.training(runs, store, group=group, fresh=words["fresh"], listener=listener))
            return made[0]

        try:
            output = Output(ANALYSES.get("train"), out, as_json=words["as_json"])
            output.run(
                make,
                fresh=words["fresh"],
                alone=False,
                estimate=lambda: estimate(chosen, RunSettings(models=names, device=str(group.device)), runs),
                dry_run=words["dry_run"],
            )
            if not words["dry_run"]:
                of_features = runs[0].recipe.task is not None
                then = _next(names, chosen, out, words["plugin"] or (), of_features=of_features)
                output.note(f"next     {then}")
        except (StmbenchError, typer.Exit):
            for training in made:
                training.dismiss()
            raise
        made[0].dismiss()
    finally:
        leave()


def _next(names: Sequence[str], chosen: TrainOptions, out: Path, plugins: Sequence[Path], *, of_features: bool) -> str:
    """The command that a reader of the result would type."""
    words = ["stmbench", "probe" if of_features else "eval", *names]
    words += ["--checkpoint", shown(out), "--dataset", chosen.dataset]
    words += ["--split", chosen.split] if chosen.split != TrainOptions.split else []
    words += ["--resolution", str(chosen.resolution)] if chosen.resolution is not None else []
    words += [word for path in plugins for word in ("--plugin", str(path))]
    return shlex.join(words)


def _chosen(words: dict[str, Any]) -> TrainOptions:
    given = {name: word for name, word in words.items() if word is not None}
    if "set" in given:
        given["set"] = tuple(given["set"])
    if "seeds" in given:
        given["seeds"] = _seeds(",".join(given["seeds"]))
    return TrainOptions(**given)


def _seeds(text: str) -> tuple[int, ...]:
    expected, remedy = "seeds such as 0,1,2, below 2^32", "change --seeds"
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise ConfigError(expected, repr(text), remedy)
    return tuple(values.whole(item, expected, remedy, most=LARGEST_SEED) for item in items)


def _signature() -> inspect.Signature:
    """Models, training's own options, where and how it runs: the order of the help."""
    return inspect.Signature([
        parameter("ctx", typer.Context, inspect.Parameter.empty),
        parameter("models", Positional, None),
        parameter("named", options.Models, None),
        parameter("scale", options.Scale, "nano"),
        parameter("mixers", options.Mixers, None),
        parameter("architecture", options.Architecture, "unified"),
        parameter("plugin", options.Plugin, None),
        *(field_parameter(field, TrainOptions) for field in dataclasses.fields(TrainOptions)),
        parameter("device", options.Device, "auto"),
        parameter("fresh", Fresh, False),
        parameter("dry_run", DryRun, False),
        parameter("out", options.Out, Path("results/train")),
        parameter("as_json", options.Json, False),
        parameter("debug", options.Debug, False),
    ])  # fmt: skip


train.__signature__ = _signature()  # type: ignore[attr-defined]
train.__annotations__ = {name: word.annotation for name, word in _signature().parameters.items()}
app.command(epilog=EPILOG)(train)
