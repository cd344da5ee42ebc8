"""`stmbench train`: models trained by a recipe; their weights are files, their curves rows of the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stmbench.analyses.options import ImageOptions
from stmbench.commands import model_options, options, session, values
from stmbench.commands.analysis_command import Fresh, option_of
from stmbench.errors import ConfigError, StmbenchError

app = typer.Typer(add_completion=False)


@app.command(epilog="Stop it at any time: the same command resumes it. Several processes: torchrun -m stmbench train")
def train(
    ctx: typer.Context,
    scale: options.Scale = "nano",
    models: options.Models = None,
    mixers: options.Mixers = None,
    architecture: model_options.Architecture = "unified",
    plugin: options.Plugin = None,
    dataset: Annotated[str, option_of(ImageOptions, "dataset")] = "digits",
    train_split: Annotated[str, typer.Option("--train-split", metavar="NAME", help="Trained on.")] = "train",
    split: Annotated[str, option_of(ImageOptions, "split")] = "test",
    classes: Annotated[str | None, option_of(ImageOptions, "classes")] = None,
    labels: Annotated[Path | None, option_of(ImageOptions, "labels")] = None,
    data_fraction: Annotated[
        float, typer.Option("--data-fraction", metavar="SHARE", help="Of each class's training images, from 0 to 1.")
    ] = 1.0,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="stm (by the mixer's family), stm_conv, stm_attention, container, cot, cot_advanced, digits, shapes, "
            "relations; default: the embedded set's own, or stm.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, max=1_000_000, help="In place of the recipe's.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            max=options.LARGEST_BATCH,
            help="Images in a step, of all processes; lr grows with it.",
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="In place of the recipe's, at its batch size.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any field of the recipe: mixup=0. Repeatable."),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="NUMBERS", help="Of weights, order and augmentation; one run for each.")
    ] = "0",
    resolution: Annotated[str | None, option_of(ImageOptions, "resolution")] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="DTYPE", help="fp32; tf32; bf16 or fp16 by autocast; fp64.")
    ] = "fp32",
    accumulate: Annotated[int, typer.Option("--accumulate", min=1, help="Backward passes in a step.")] = 1,
    grad_checkpointing: Annotated[
        bool,
        typer.Option("--grad-checkpointing", help="Recompute blocks when going back: less memory."),
    ] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the models by torch.compile.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Images and weights in that format.")] = False,
    keep_every: Annotated[
        int | None, typer.Option("--keep-every", metavar="N", min=1, help="Keep the weights of every N-th epoch.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="PATH", help="Go on from this run's folder or state.pt, in place of --out's."),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Curves for TensorBoard, too.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=options.MOST_THREADS, help="Processes that decode images ahead.")
    ] = 0,
    limit_corrupt: Annotated[int, option_of(ImageOptions, "limit_corrupt")] = 10,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=options.MOST_THREADS, help="CPU threads; default: torch's.")
    ] = None,
    device: options.Device = "auto",
    fresh: Fresh = False,
    out: options.Out = Path("results/train"),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train models, from a recipe of the papers or of the embedded sets.

    Without arguments: the five mixers at scale nano on the embedded digits, a minute or so each. Checkpoints are under
    OUT/checkpoints and can be given to every other command with --checkpoint.
    """
    numbers = _seeds(seeds)
    sizes = None if resolution is None else values.resolutions(resolution)
    if sizes is not None and len(sizes) > 1:
        raise ConfigError("one resolution", repr(resolution), "run the command once for each")
    changes = _changes(change or [])
    changes |= {k: v for k, v in {"epochs": epochs, "batch_size": batch_size, "lr": lr}.items() if v is not None}
    names = model_options.selection(
        ctx, models=models, mixers=mixers, scale=scale, architecture=architecture, plugins=plugin
    )

    import torch

    from stmbench.analyses.base import Listener
    from stmbench.analyses.models import facts_of
    from stmbench.analyses.registry import ANALYSES
    from stmbench.commands.analysis_output import Output
    from stmbench.tables import Store
    from stmbench.training.analysis import Training
    from stmbench.training.distributed import join, leave
    from stmbench.training.presets import default_recipe, recipe_for, warmup_remark
    from stmbench.training.settings import TrainingSettings

    preset = recipe or default_recipe(dataset)
    mixer_of = {name: facts_of(name).mixer for name in names}
    recipes = {name: recipe_for(preset, mixer, **changes) for name, mixer in mixer_of.items()}
    runs = [
        TrainingSettings(
            model=name,
            recipe=recipes[name],
            remarks=tuple(filter(None, [warmup_remark(recipes[name], preset, mixer_of[name], **changes)])),
            dataset=dataset,
            train_split=train_split,
            test_split=split,
            classes=classes,
            labels=labels,
            data_fraction=data_fraction,
            seed=seed,
            dtype=dtype,
            accumulate=accumulate,
            resolution=sizes[0] if sizes else None,
            grad_checkpointing=grad_checkpointing,
            compile=compiled,
            channels_last=channels_last,
            workers=workers,
            limit_corrupt=limit_corrupt,
            keep_every=keep_every,
            tensorboard=tensorboard,
        )
        for name in names
        for seed in numbers
    ]
    if threads is not None:
        torch.set_num_threads(threads)
    world = join(values.device(device))
    session.keep(f"what was trained stays in {out}, and the same command resumes from there")
    try:
        if not world.is_first:
            Training(runs, Store(out), world=world, resume=resume, fresh=fresh).follow()
            return
        made: list[Training] = []

        def make(store: Store, listener: Listener) -> Training:
            made.append(Training(runs, store, world=world, resume=resume, fresh=fresh, listener=listener))
            return made[0]

        try:
            Output(ANALYSES.get("train"), out, as_json=as_json).run(make, fresh=fresh, alone=False)
        except (StmbenchError, typer.Exit):
            for training in made:
                training.dismiss()
            raise
        made[0].dismiss()
    finally:
        leave()


def _seeds(text: str) -> list[int]:
    expected, remedy = "seeds such as 0,1,2, below 2^32", "change --seeds"
    seeds = [values.whole(item.strip(), expected, remedy, most=2**32 - 1) for item in text.split(",") if item.strip()]
    if not seeds:
        raise ConfigError(expected, repr(text), remedy)
    if len(set(seeds)) != len(seeds):
        raise ConfigError("each seed once", repr(text), remedy)
    return seeds


def _changes(texts: list[str]) -> dict[str, object]:
    """Fields and values, the latter as YAML reads them: `mixup=0`, `ema=null`, `crop_scale=[0.5, 1]`."""
    import yaml

    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("a field of the recipe and a value", repr(text), "write --set mixup=0")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # digits without end, brackets without end
            raise ConfigError("a value such as 0.1, null or [0.5, 1]", _short(value), "correct --set") from error
    return found


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
