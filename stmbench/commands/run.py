"""`stmbench run`: an experiment file, from its models to its figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stmbench.commands import options, receipts, session, values
from stmbench.commands.addresses import shown, store_folder
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.experiments.experiment import Experiment

app = typer.Typer(add_completion=False)
ENGINES = ("local", "ray")


@app.command(epilog="Stop it at any time: the same command resumes where it left off.")
def run(
    file: Annotated[
        Path,
        typer.Argument(metavar="EXPERIMENT", help="An experiment file, or a name from `stmbench list experiments`."),
    ],
    mini: Annotated[
        bool, typer.Option("--mini", help="Run the miniature: small models on an embedded set, labelled as such.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan (tasks, time, missing requirements) and write nothing.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="NAME=PATH", help="Location of a data set: imagenet=PATH. Repeatable."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="FOLDER", help="Checkpoints, named after models or as their authors named them."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="Where tasks are run: local, or ray for a cluster.")
    ] = "local",
    workers: Annotated[
        str, typer.Option("--workers", metavar="N", help="Processes on this machine; auto: one for each core, up to 8.")
    ] = "auto",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Address of a running Ray cluster; default: start one."),
    ] = None,
    baseline: options.Baseline = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Run tasks meant for a GPU on this device.")] = False,
    allow_plugins: Annotated[
        bool, typer.Option("--allow-plugins", help="Run the code of the plug-ins that the file names.")
    ] = False,
    plugin: options.Plugin = None,
    device: options.Device = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what the store already holds.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The result store, a folder or an address such as s3://bucket/store; default: results/NAME.",
            parser=store_folder,
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Run an experiment: train and measure its models, and compare them with published values."""
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    if address is not None and engine != "ray":
        raise ConfigError("--address with --engine ray", f"--engine {engine}", "add it, or leave out --address")
    places = _places(data or [])
    number = workers_of(workers)
    from stmbench.bundled import experiment_file

    file = experiment_file(file)
    folder = out or Path("results") / (f"{file.stem}-mini" if mini else file.stem)
    call = {
        **{"file": str(file.resolve()), "mini": mini, "data": places, "weights": weights and str(weights)},
        **{"engine": engine, "address": address, "baseline": baseline, "anyway": anyway, "device": device},
        **{"allow_plugins": allow_plugins, "plugin": [str(path) for path in plugin or ()], "out": str(folder)},
    }
    if not fresh and (receipt := receipts.same_as_before(folder, call)) is not None:
        if dry_run:
            receipts.show_plan_again(receipt, number)
        else:
            receipts.show_again(receipt)
        return
    from stmbench.architectures.listing import none_installed
    from stmbench.commands.plan_output import show_plan, workers_for
    from stmbench.experiments.planning import Resources, plan
    from stmbench.experiments.reading import files_of, plugins_of, read_experiment
    from stmbench.plugins import load_plugins

    plugins = plugins_of(file, mini=mini)
    if plugins and not allow_plugins:
        names = ", ".join(path.name for path in plugins)
        remedy = "read them, then add the option"
        raise ConfigError("--allow-plugins, as plug-ins are code that is run", f"{names} in {file.name}", remedy)
    plugins = list(dict.fromkeys([*plugins, *(plugin or ())]))
    request = receipts.Request(call=call, files=files_of(file), plugins=plugins, weights=weights)
    before = None if dry_run else request.facts()  # of the files as they are read below
    if plugins or not none_installed():
        load_plugins(plugins)
    experiment = read_experiment(file, mini=mini)
    if baseline is not None:
        baseline = model_named(experiment, baseline)
    resources = Resources(data=places, weights=weights, device=values.device(device, elsewhere=engine == "ray"))
    tasks = plan(experiment, resources, anyway=anyway, plugins=tuple(map(str, plugins)), fresh=fresh)
    if dry_run:
        show_plan(experiment, tasks, folder, workers=workers_for(tasks, number), file=file)
        return
    with session.importing():
        from stmbench.commands.run_output import RunOutput

    output = RunOutput(experiment, tasks, folder, workers=number, file=file, baseline=baseline)
    session.keep(f"what is finished stays in {shown(folder)}, and the same command resumes from there")
    output.run(engine, address)
    receipts.leave(folder, request, before, output)


def model_named(experiment: Experiment, name: str) -> str:
    """The experiment's model of that name, or of that mixer. Raises UnknownNameError."""
    from stmbench.architectures.model_names import ModelName

    models = [line.model for line in experiment.models]
    of_mixer = [model for model in models if ModelName.parse(model).mixer == name]
    if name not in models and len(of_mixer) != 1:
        raise UnknownNameError("model of the experiment", name, models)
    return name if name in models else of_mixer[0]


def _places(texts: list[str]) -> dict[str, str]:
    places = {}
    for text in texts:
        name, equals, place = text.partition("=")
        if not equals or not name or not place:
            raise ConfigError("a data set and its place", repr(text), "write --data imagenet=PATH")
        places[name] = place
    return places


def workers_of(text: str) -> int:
    """A number of processes; auto: one for each core, up to 8."""
    if text == "auto":
        return min(8, os.cpu_count() or 1)
    return values.whole(text, "a number of workers, or auto", "change --workers", least=1, most=options.MOST_THREADS)
