"""The design of a study: which models, trained how, and what is measured of them.

All models are the unified architecture's at one scale. A mixer that brings no network of its own gets the width whose
multiply-adds come closest to the baselines'; the control keeps its network, so it costs less: it is the baselines'
network with nothing in the mixer's place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stmbench.analyses.match import match
from stmbench.architectures.catalog import ModelName
from stmbench.data.sets import EMBEDDED, open_set
from stmbench.errors import ConfigError, InputError
from stmbench.experiments.experiment import DataLines, Experiment, ModelLine, TrainingLines
from stmbench.experiments.steps import Step
from stmbench.mixers.base import MIXERS
from stmbench.studies.options import StudyOptions
from stmbench.training.presets import default_recipe, recipe_for

SMALL_SET: Final = 50_000  # training images; larger sets are trained with the papers' recipe
ROUND_TIME: Final = 30.0  # seconds of sampling of the profile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How much of a study is done.

    Attributes:
        seeds: trainings of each model.
        analyses: names of steps; on_every_seed: those that look at every training, the others at the first.
        epochs: share of the recipe's.
        round_time: seconds of sampling of the profile.
    """

    seeds: int
    analyses: tuple[str, ...]
    on_every_seed: tuple[str, ...]
    epochs: float = 1.0
    round_time: float = ROUND_TIME


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """Names of models by role, and the matching of their cost in words."""

    options: StudyOptions
    models: dict[str, str]  # mixer -> model
    data: DataLines
    recipe: str
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model of the mixer in question."""
        return self.models[self.options.mixer]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The models that it is compared with, the control last."""
        others = [name for name in self.options.mixers if name != self.options.mixer]
        return tuple(self.models[name] for name in others)

    @property
    def title(self) -> str:
        """The question."""
        *others, last = (MIXERS.get(name).title for name in self.options.baselines)
        against = f"{', '.join(others)} and {last}" if others else last
        return f"{MIXERS.get(self.options.mixer).title} against {against}"

    def experiment(self, effort: Effort) -> Experiment:
        """The experiment that this much of the study is."""
        options = self.options
        steps = steps_for(options.dataset, effort.round_time, options.analyses)
        return Experiment(
            name=f"study_{options.mixer}",
            title=self.title,
            note=" ".join(self.notes),
            models=tuple(ModelLine(model=model) for model in self.models.values()),
            control=self.models[options.control],
            weights="trained",
            seeds=tuple(range(effort.seeds)),
            data=self.data,
            training=training_lines(self.recipe, effort.epochs),
            analyses=tuple(steps[name] for name in effort.analyses),
        )


def design(options: StudyOptions) -> Design:
    """Names of the models, with the mixer's width matched.

    Raises:
        UnknownNameError: no such mixer or scale. InputError: no width that costs what the baselines cost.
    """
    scaled = {} if options.layer_scale is None else {"layer_scale": options.layer_scale}
    names = {
        mixer: ModelName.parse(f"unified_{mixer}_{options.scale}").with_options(**scaled) for mixer in options.mixers
    }
    compared = [name for mixer, name in names.items() if mixer != options.control]
    notes = []
    if any(options.scale in MIXERS.get(mixer).presets for mixer in options.mixers if mixer != options.control):
        matching = match(compared, "macs")
        if matching.left_out:  # a study of the others would not be the one that was asked for
            raise next(iter(matching.left_out.values()))
        others = [mixer for mixer in names if mixer != options.control]
        names |= dict(zip(others, matching.names, strict=True))
        notes = [f"matched in MACs: {found}." for found in matching.matches]
    data = data_lines(options.dataset)
    return Design(options=options, models=names, data=data, recipe=recipe_of(data), notes=tuple(notes))


def data_lines(dataset: str) -> DataLines:
    """The set and its splits: a folder's `val` stands for `test` where it has no `test`."""
    if dataset.partition("[")[0] in EMBEDDED:
        return DataLines(set=dataset)
    place = Path(dataset).expanduser()
    if not place.exists():
        names = ", ".join(name for name in EMBEDDED if name != "photos")
        raise InputError(f"a data set ({names}) or a folder", f"nothing at {dataset}", "correct --dataset")
    test = next((name for name in ("test", "val", "validation") if (place / name).is_dir()), "test")
    return DataLines(set=str(place), test=test)


def recipe_of(data: DataLines) -> str:
    """The recipe that suits the size of the set: an embedded set's own, `small` for few images, else the papers'."""
    if data.set.partition("[")[0] in EMBEDDED:
        return default_recipe(data.set)
    images = len(open_set(data.set, split=data.train))
    if images < 2:
        raise ConfigError("images to train on", str(images), "choose another --dataset")
    return "small" if images <= SMALL_SET else "stm"


def training_lines(recipe: str, share: float) -> TrainingLines:
    """A recipe, with a share of its epochs."""
    epochs = max(1, round(recipe_for(recipe, None).epochs * share))
    return TrainingLines(recipe=recipe, change={"epochs": epochs} if share < 1 else {})


def steps_for(dataset: str, round_time: float = ROUND_TIME, of_plugins: Sequence[str] = ()) -> dict[str, Step]:
    """Name -> step of everything that a study can measure."""
    # a digit fills its picture and its ground is black: what a shift brings in is black too
    pad = {"pad": "zeros"} if dataset == "digits" else {}
    given: dict[str, dict[str, Any]] = {
        "eval": {},
        "profile": {"batch_size": 32, "target_width": 0.02, "time_budget": round_time},
        "erf": {"num_images": 32},
        "translation": {"kind": "translation", "levels": tuple(map(float, range(9))), "batch_size": 64, **pad},
        "robustness": {"eps": ("8/255", "2/255", "0.5/255"), "batch_size": 64},
        "rotation": {"kind": "rotation", "levels": tuple(5.0 * step for step in range(10)), "batch_size": 64},
        "scale": {"kind": "scale", "batch_size": 64},
        "affinity": {"num_images": 16, "layers": (1, 4)},
        "frequency": {},
        "corruption": {},
        **{name: {} for name in of_plugins},
    }
    names = {"translation": "invariance", "rotation": "invariance", "scale": "invariance"}
    return {name: Step(name=name, analysis=names.get(name, name), given=options) for name, options in given.items()}
