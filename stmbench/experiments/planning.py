"""From an experiment to tasks: what is trained, then every analysis of every model, then what compares them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stmbench.architectures.model_names import ModelName
from stmbench.data.sets import EMBEDDED
from stmbench.errors import CheckpointError, ConfigError, InputError
from stmbench.experiments.experiment import Experiment
from stmbench.experiments.remembered import remembered
from stmbench.experiments.steps import Step
from stmbench.experiments.tasks import Task
from stmbench.tables.object_storage import ObjectFolder, is_address
from stmbench.training.presets import default_recipe, recipe_for, warmup_remark
from stmbench.training.settings import TrainingSettings

if TYPE_CHECKING:
    from stmbench.checkpoints.selection import Checkpoint

SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """`data`: set -> place; `weights`: a folder of checkpoints named after models, or as their authors named them."""

    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    weights: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, place in self.data.items():
            if not _is_there(place):
                raise InputError(f"the data set {name}", f"nothing at {place}", "correct --data")
        if self.weights is not None and not self.weights.is_dir():
            raise InputError("a folder of weights", f"no folder at {self.weights}", "correct --weights")

    def place(self, dataset: str) -> tuple[str, str | None]:
        """The set as `open_set` takes it, and what is missing for it."""
        if dataset.partition("[")[0] in EMBEDDED:
            return dataset, None
        path = self.data.get(dataset, dataset)
        if _is_there(path):
            return path, None
        return dataset, f"the data set {dataset} (--data {dataset}=PATH)"

    def checkpoint(self, model: str) -> tuple[str | None, str | None]:
        """The file with a model's weights, and what is missing where there is none.

        A colon of the name is a dash in the file's: maskrcnn-unified_halo_attn_tiny.
        """
        missing = f"weights of {model} (--weights FOLDER)"
        if self.weights is None:
            return None, missing
        from stmbench.checkpoints.families import published_file_stems

        name = ModelName.parse(model)
        stems = (model, name.base, *(text.replace(":", "-") for text in (model, name.base)))
        for stem in (*stems, *published_file_stems(name)):
            for suffix in SUFFIXES:
                path = self.weights / f"{stem}{suffix}"
                if path.is_file():
                    return str(path), None
        return None, missing

    def lacks(self, device: str) -> str | None:
        """What is missing for an experiment that wants this device."""
        if device == "cuda" and not self.device.startswith("cuda"):
            return "a GPU (--anyway runs it on the CPU)"
        return None


def _is_there(place: str) -> bool:
    """Whether there is anything at a path or an address. Raises InputError for storage that cannot be reached."""
    return ObjectFolder(place).is_there() if is_address(place) else Path(place).expanduser().exists()


def plan(
    experiment: Experiment,
    resources: Resources,
    *,
    anyway: bool = False,
    plugins: tuple[str, ...] = (),
    fresh: bool = False,
) -> list[Task]:
    """The tasks in an order in which they can be done.

    Args:
        anyway: run on this device what asks for another.
        plugins: paths of the plug-in files that define mixers of the experiment.
        fresh: whether what a store holds is done again.

    Raises:
        ConfigError, UnknownNameError: a recipe that makes no sense.
    """
    tasks = _Planner(experiment, resources, anyway).tasks()
    return [dataclasses.replace(task, plugins=plugins, fresh=fresh and not _combines(task)) for task in tasks]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beginning:
    """The weights that a detector's backbone begins with, what tables call them, and what is missing for them."""

    checkpoint: Checkpoint | None = None
    weights: str | None = None
    missing: str | None = None


def _classification_weights(detector: str, resources: Resources) -> Beginning:
    backbone = remembered("backbone", detector, lambda: ModelName.parse(detector).backbone)
    file, missing = resources.checkpoint(backbone)
    if file is None:
        return Beginning(missing=missing)
    from stmbench.checkpoints.backbones import read_backbone
    from stmbench.checkpoints.selection import Checkpoint

    checkpoint = Checkpoint.parse(file)
    try:
        return Beginning(checkpoint=checkpoint, weights=read_backbone(detector, checkpoint)[1].label)
    except CheckpointError as error:
        return Beginning(missing=f"usable weights of {ModelName.parse(detector).backbone} ({error})")


class _Planner:
    def __init__(self, experiment: Experiment, resources: Resources, anyway: bool) -> None:
        self.experiment, self.resources = experiment, resources
        self.lacks = None if anyway else resources.lacks(experiment.device)
        self.models = [line.model for line in experiment.models]
        self.trains = experiment.weights == "trained"
        data = experiment.data
        own = "shapes" if experiment.detectors else "photos"
        self.dataset, self.no_data = (own, None) if data is None else resources.place(data.set)
        self._begins: dict[str, Beginning] = {}
        self._runs: dict[tuple[str, int, float], TrainingSettings] = {}

    def tasks(self) -> Iterator[Task]:
        if self.trains:
            for fraction in self._fractions:
                for model in self.models:
                    for seed in self.experiment.seeds:
                        yield self._training(model, seed, fraction)
        for number, step in enumerate(self.experiment.analyses):
            if step.kind.needs_images:
                yield from self._of_weights(step, number)
            else:
                yield Task(
                    name=self._name(step, number),
                    step=step,
                    models=tuple(self.models),
                    seed=self.experiment.seeds[0],
                    device=self.resources.device,
                    alone=step.kind.alone,
                    missing=self.lacks,
                )

    def _training(self, model: str, seed: int, fraction: float) -> Task:
        run = self.run_of(model, seed, fraction)
        return Task(
            name=_training_name(run),
            step=None,
            models=(model,),
            seed=seed,
            runs=(run,),
            device=self.resources.device,
            missing=self.lacks or self.no_data or self._beginning(model).missing,
        )

    def _of_weights(self, step: Step, number: int) -> Iterator[Task]:
        """An analysis of each model and weights; then, where models are compared, of all with the same weights."""
        for fraction in self._fractions:
            for seed in self.experiment.seeds:
                for epoch in step.at_epochs or (None,):
                    one_by_one = [
                        self._of_models(step, number, (model,), seed, fraction, epoch) for model in self.models
                    ]
                    yield from one_by_one
                    if step.kind.combines and len(self.models) > 1:
                        task = self._of_models(step, number, tuple(self.models), seed, fraction, epoch)
                        if all(item.missing is None for item in one_by_one):
                            yield _after(task, tuple(item.name for item in one_by_one))

    def _of_models(
        self, step: Step, number: int, models: tuple[str, ...], seed: int, fraction: float, epoch: int | None
    ) -> Task:
        experiment, resources = self.experiment, self.resources
        dataset, missing = (self.dataset, self.no_data) if step.dataset is None else resources.place(step.dataset)
        runs: tuple[TrainingSettings, ...] = ()
        files: dict[str, str] = {}
        if self.trains:
            runs = tuple(self.run_of(model, seed, fraction) for model in models)
            missing = missing or self.no_data
            missing = next(filter(None, [missing, *(self._beginning(model).missing for model in models)]), None)
        elif experiment.weights == "files":
            for model in models:
                file, lacking = resources.checkpoint(model)
                files |= {model: file} if file else {}
                missing = missing or lacking
        words = [self._name(step, number), *(models if len(models) == 1 else ("all models",))]
        words += [f"s{seed}"] if len(experiment.seeds) > 1 else []
        words += [f"{fraction:g} of the data"] if len(self._fractions) > 1 else []
        words += [f"epoch {epoch}"] if epoch is not None else []
        return Task(
            name=" · ".join(words),
            step=step,
            models=models,
            seed=experiment.seeds[0] if self.trains else seed,
            runs=runs,
            files=files,
            epoch=epoch,
            dataset=dataset,
            split=step.split or (experiment.data.test if experiment.data and step.dataset is None else "test"),
            device=resources.device,
            control=experiment.control,
            needs=tuple(_training_name(run) for run in runs),
            missing=self.lacks or missing,
        )

    def run_of(self, model: str, seed: int, fraction: float) -> TrainingSettings:
        """How a model is trained; the same for every analysis of it."""
        key = model, seed, fraction
        if key not in self._runs:
            self._runs[key] = self._run(model, seed, fraction)
        return self._runs[key]

    def _run(self, model: str, seed: int, fraction: float) -> TrainingSettings:
        lines, data = self.experiment.training, self.experiment.data
        if data is None:
            raise ConfigError("`data` to train on", "none", "add it to the experiment")
        preset, facts = lines.recipe or default_recipe(data.set, model), ModelName.parse(model)
        mixer = facts.mixer
        recipe = recipe_for(preset, mixer, facts.scale, **lines.change)
        begins = self._beginning(model)
        return TrainingSettings(
            model=model,
            recipe=recipe,
            remarks=tuple(filter(None, [warmup_remark(recipe, preset, mixer, **lines.change)])),
            dataset=self.dataset,
            train_split=data.train,
            test_split=data.test,
            data_fraction=fraction,
            seed=seed,
            dtype=lines.dtype,
            accumulate=lines.accumulate,
            keep_every=lines.keep_every,
            backbone=begins.checkpoint,
            backbone_weights=begins.weights,
        )

    def _beginning(self, model: str) -> Beginning:
        """What a model's training begins with."""
        if model not in self._begins:
            wanted = self.experiment.training.pretrained
            self._begins[model] = _classification_weights(model, self.resources) if wanted else Beginning()
        return self._begins[model]

    @property
    def _fractions(self) -> tuple[float, ...]:
        return self.experiment.data.fractions if self.trains and self.experiment.data else (1.0,)

    def _name(self, step: Step, number: int) -> str:
        """Of an analysis; numbered where there are several of a kind."""
        same = [other for other in self.experiment.analyses if other.name == step.name]
        return step.name if len(same) == 1 else f"{step.name} {number + 1}"


def _combines(task: Task) -> bool:
    """Whether a task only compares what others measured."""
    return task.step is not None and task.step.kind.combines and len(task.models) > 1


def _training_name(run: TrainingSettings) -> str:
    share = "" if run.data_fraction == 1 else f" · {run.data_fraction:g} of the data"
    return f"train · {run.model} · s{run.seed}{share}"


def _after(task: Task, needs: tuple[str, ...]) -> Task:
    return dataclasses.replace(task, needs=(*task.needs, *needs))
