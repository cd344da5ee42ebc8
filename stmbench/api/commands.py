"""The functions of the other commands: train, run an experiment, check a plug-in, convert a checkpoint, list names."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from stmbench.analyses.registry import ANALYSES
from stmbench.api.analyses import SHARED, in_python, listed, measure, own_options, require_known, settings, values
from stmbench.api.results import StoreResult, TrainResult
from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.training.options import TrainOptions

if TYPE_CHECKING:
    import pandas as pd

    from stmbench.analyses.base import Listener
    from stmbench.api.analyses import Models
    from stmbench.tables import Store
    from stmbench.training.analysis import Training

_LEFT_OUT = ("match", "checkpoint", "seed")  # of what all functions share: `train` has `seeds`
_SHARED = tuple((name, "nano" if name == "scale" else default, text)
                for name, default, text in SHARED if name not in _LEFT_OUT)  # fmt: skip


def run(
    file: str | Path,
    *,
    mini: bool = False,
    data: Mapping[str, str | Path] | None = None,
    weights: str | Path | None = None,
    workers: int | str = 1,
    baseline: str | None = None,
    anyway: bool = False,
    allow_plugins: bool = False,
    plugins: str | Path | Sequence[str | Path] = (),
    device: str = "auto",
    fresh: bool = False,
    out: str | Path | None = None,
    progress: bool = True,
) -> StoreResult:
    """Run an experiment: train what it trains, measure what it measures.

    Args:
        file: an experiment: a file, or the name of one that comes with stmbench, such as quickstart.
        mini: the file's miniature: small models on an embedded set.
        data: where data sets are: {"imagenet": path}.
        weights: a folder of checkpoints, named after models or as their authors do.
        workers: processes on this machine; "auto": one for each core, up to 8; 1: this process.
        baseline: the model, or its mixer, that a report compares the others with; default: the control.
        anyway: run on this device what was meant for a GPU.
        allow_plugins: run the code of the plug-ins that the file names.
        plugins: Python files that register mixers, models or analyses.
        device: Where models run: auto, cpu, cuda or cuda:N.
        fresh: measure again what the store already holds.
        out: the store; default: results/NAME.
        progress: whether to show how far the run is.
    """
    from stmbench.bundled import experiment_file
    from stmbench.commands.run import model_named, workers_of
    from stmbench.commands.run_output import RunOutput
    from stmbench.commands.values import device as device_of
    from stmbench.experiments.planning import Resources, plan
    from stmbench.experiments.reading import plugins_of, read_experiment
    from stmbench.plugins import load_plugins
    from stmbench.tables.addresses import fetched_store, sent_at_the_end

    try:
        path = experiment_file(Path(file))
        named = plugins_of(path, mini=mini)
        if named and not allow_plugins:
            names = ", ".join(plugin.name for plugin in named)
            raise ConfigError("`allow_plugins`, as plug-ins are code that is run", f"{names} in {path.name}",
                              "read them, then give allow_plugins=True")  # fmt: skip
        files = list(dict.fromkeys([*named, *map(Path, listed(plugins))]))
        load_plugins(files)
        experiment = read_experiment(path, mini=mini)
        if baseline is not None:
            baseline = model_named(experiment, baseline)
        resources = Resources(
            data={name: str(place) for name, place in (data or {}).items()},
            weights=None if weights is None else Path(weights),
            device=device_of(device),
        )
        tasks = plan(experiment, resources, anyway=anyway, plugins=tuple(map(str, files)), fresh=fresh)
        name = f"{experiment.name}-mini" if mini else experiment.name
        folder = Path("results") / name if out is None else fetched_store(out)
        output = RunOutput(experiment, tasks, folder, workers=workers_of(str(workers)), file=path)
        with sent_at_the_end():
            frame, done = output.measure("local", None, progress=progress)
    except InputError as error:
        raise in_python(error) from None
    frame.attrs["about"] = experiment.about
    frame.attrs["command"] = f"stmbench.run({path.name!r})"
    skipped = [f"{task}: {reason}" for task, reason in done.skipped.items()]
    result = StoreResult(folder, frame, [*done.failures, *skipped], done.warnings)
    result.title, result.baseline = experiment.heading, baseline or experiment.control
    return result


def check(
    target: str | Path,
    *,
    plugins: str | Path | Sequence[str | Path] = (),
    device: str | None = None,
    dtype: str | None = None,
) -> pd.DataFrame:
    """Check everything that a plug-in registers; a row for each check: passed, failed or skipped, and the remedy.

    Args:
        target: a plug-in file or folder, or the name of a registered mixer.
        plugins: Python files to load before.
        device: where mixers run; by default the CPU if they run on it.
        dtype: what mixers compute in, such as float32; by default all that they can.
    """
    import pandas as pd

    from stmbench.commands.check import outcomes_of

    files = [Path(file) for file in listed(plugins)]
    rows = [
        {"kind": kind, "name": name, **dataclasses.asdict(outcome)}
        for kind, name, outcomes in outcomes_of(str(target), files, device=device, dtype=dtype)
        for outcome in outcomes
    ]
    return pd.DataFrame(rows, columns=["kind", "name", "check", "promise", "status", "found", "remedy", "proposal"])


def convert(file: str | Path, *, weights: str | None = None, out: str | Path | None = None) -> Path:
    """Write a checkpoint's weights as safetensors; returns the new file. Needs no model and runs no code.

    Args:
        file: FILE, or FILE#KEY, KEY saying which of its weights.
        weights: ema or raw, of files that hold both; default: ema.
        out: the new file; default: FILE.safetensors.
    """
    from stmbench.checkpoints import inspection
    from stmbench.checkpoints.selection import Checkpoint

    try:
        checkpoint = Checkpoint.parse(str(file), weights=weights)
        target = checkpoint.path.with_suffix(".safetensors") if out is None else Path(out)
        inspection.write_safetensors(checkpoint, target)
    except InputError as error:
        raise in_python(error) from None
    return target


def list_mixers(pattern: str = "*") -> list[str]:
    """The mixers whose name or title contains a text, or matches a shell pattern; every one by default."""
    from stmbench.mixers.base import MIXERS
    from stmbench.registry import matches

    entries = [MIXERS.get(name) for name in MIXERS]
    names = [entry.name for entry in entries if matches(pattern, entry.name, entry.title, entry.abbreviation)]
    if not names:
        raise UnknownNameError("mixer", pattern, list(MIXERS))
    return names


def list_architectures(pattern: str = "*") -> list[str]:
    """The architectures that any mixer plugs into."""
    from stmbench.architectures.base import ARCHITECTURES
    from stmbench.registry import matches

    names = [name for name in ARCHITECTURES if matches(pattern, name, ARCHITECTURES.get(name).title)]
    if not names:
        raise UnknownNameError("architecture", pattern, list(ARCHITECTURES))
    return names


def list_analyses() -> list[str]:
    """The analyses; each is a function of this package."""
    from stmbench.analyses.registry import specs
    from stmbench.plugins import load_entry_points

    load_entry_points()
    return [spec.name for spec in specs() if spec.options is not None]


def list_experiments() -> list[str]:
    """The experiments that come with stmbench, for `run`."""
    from stmbench.bundled import bundled_experiments

    return list(bundled_experiments())


def train(models: Models = (), **options: Any) -> TrainResult:
    """Train models, from a recipe of the papers or of the embedded sets.

    `result.checkpoints` maps each model to its weights: give it as `checkpoint=` to the other functions.
    """
    known = [*(field.name for field in dataclasses.fields(TrainOptions)), *(name for name, _, _ in _SHARED)]
    require_known("train", options, known)
    asked = {name: options.get(name, default) for name, default, _ in _SHARED}
    own = own_options(options, TrainOptions)
    if isinstance(own.get("set"), Mapping):
        own["set"] = tuple(f"{name}={_yaml(value)}" for name, value in own["set"].items())
    try:
        chosen = TrainOptions(**values(own, TrainOptions))
        run, _ = settings(models, TrainOptions, {**asked, "match": None, "checkpoint": None, "seed": 0})
        runs = chosen.runs(run.models)
    except InputError as error:
        raise in_python(error) from None
    import torch

    from stmbench.training.distributed import ProcessGroup

    made: list[Training] = []

    def make(store: Store, listener: Listener | None) -> Training:
        group = ProcessGroup(device=torch.device(run.device))
        made.append(chosen.training(runs, store, group=group, fresh=bool(asked["fresh"]), listener=listener))
        return made[0]

    threads = torch.get_num_threads()
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    try:
        measured = measure(ANALYSES.get("train"), make, asked, None, f"dataset={chosen.dataset!r}")
    finally:
        torch.set_num_threads(threads)
    weights: dict[str, dict[int, Path]] = {}
    for setting in runs:
        file = made[0].folder(setting).result
        if file.exists():
            weights.setdefault(setting.model, {})[setting.seed] = file
    return TrainResult(*measured, weights=weights)


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(listed(value) if isinstance(value, tuple) else value, default_flow_style=True))


def _sign() -> None:
    hints = get_type_hints(TrainOptions)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("models", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=(), annotation="Models")]
    for field in dataclasses.fields(TrainOptions):
        parameters.append(inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name]))
    for name, default, _ in _SHARED:
        parameters.append(inspect.Parameter(name, keyword, default=default))
    train.__signature__ = inspect.Signature(parameters, return_annotation=TrainResult)  # type: ignore[attr-defined]
    lines = [f"    {field.name}: {field.metadata['option'].help}" for field in dataclasses.fields(TrainOptions)]
    lines += [f"    {name}: {text}" for name, _, text in _SHARED]
    models = "    models: a name or a list of them; none: those of `scale`."
    train.__doc__ = "\n".join([inspect.cleandoc(train.__doc__ or ""), "", "Args:", models, *lines])


_sign()
