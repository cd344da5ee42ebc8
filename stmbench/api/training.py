"""`stmbench.train`: the function of `stmbench train`, with its options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from stmbench.analyses.registry import ANALYSES
from stmbench.api.analyses import SHARED, measure, own_options, require_known
from stmbench.api.request import in_python, listed, settings, values
from stmbench.api.results import TrainResult
from stmbench.errors import InputError
from stmbench.training.options import TrainOptions

if TYPE_CHECKING:
    from stmbench.analyses.base import Listener
    from stmbench.api.request import Models
    from stmbench.tables import Store
    from stmbench.training.analysis import Training

_LEFT_OUT = ("match", "checkpoint", "seed")  # of what all functions share: it has `seeds`
_SHARED = tuple((name, "nano" if name == "scale" else default, text)
                for name, default, text in SHARED if name not in _LEFT_OUT)  # fmt: skip


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
        run = settings(models, TrainOptions, {**asked, "match": None, "checkpoint": None, "seed": 0})
        runs = chosen.runs(run.models)
    except InputError as error:
        raise in_python(error) from None
    import torch

    from stmbench.training.distributed import World

    made: list[Training] = []

    def make(store: Store, listener: Listener | None) -> Training:
        world = World(device=torch.device(run.device))
        made.append(chosen.training(runs, store, world=world, fresh=bool(asked["fresh"]), listener=listener))
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
