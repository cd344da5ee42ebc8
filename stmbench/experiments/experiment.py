"""An experiment: what one file says, checked. experiments/README.md describes the keys for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from stmbench.architectures.model_names import ModelName
from stmbench.data.detection.sets import EMBEDDED as WITH_BOXES
from stmbench.data.sets import EMBEDDED
from stmbench.errors import ConfigError, InputError, UnknownNameError, printable
from stmbench.experiments.steps import Step
from stmbench.training.presets import default_recipe, recipe_for
from stmbench.training.settings import DTYPES

Weights = Literal["random", "trained", "files"]
LARGEST_SEED = 2**32 - 1  # NumPy's


class RefusedKeyError(ConfigError):
    """A value of one key of an experiment that makes no sense beside the others."""

    def __init__(self, key: str, expected: str, got: str, remedy: str = "") -> None:
        self.key = key
        super().__init__(expected, got, remedy or f"correct `{key}`")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelLine:
    """One model. `label` is the paper's name for it; `row` finds it in the published table: {method: DW-3}."""

    model: str
    label: str | None = None
    row: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataLines:
    """The set: an embedded one, or a name such as imagenet, whose place the user gives with --data."""

    set: str
    train: str = "train"
    test: str = "test"
    fractions: tuple[float, ...] = (1.0,)  # of the training images: a run for each

    def __post_init__(self) -> None:
        fractions = self.fractions
        if not fractions or len(set(fractions)) != len(fractions) or not all(0 < share <= 1 for share in fractions):
            got = ", ".join(f"{share:g}" for share in fractions) or "none"
            raise ConfigError("fractions above 0 and up to 1, each once", got, "correct `fractions`")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLines:
    """How models are trained: a recipe by name (None: the set's own, or `stm`) and changes of its fields.

    `pretrained` detectors begin with the classification weights of their backbone, which the user has.
    """

    recipe: str | None = None
    change: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "fp32"
    accumulate: int = 1
    keep_every: int | None = None
    pretrained: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        for name in ("accumulate", "keep_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} >= 1", repr(value), f"correct `{name}`")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """Where the table has what a published column has: rows of `metric` with these conditions.

    `factor` turns the paper's unit into the table's: 1e6 for millions, 0.01 for per cent.
    """

    metric: str
    factor: float = 1.0
    analysis: str | None = None
    definition: str | None = None
    resolution: int | None = None
    batch_size: int | None = None
    stage: int | None = None
    condition: str | None = None
    level: float | None = None
    epoch: int | None = None  # of the training whose weights were analysed

    @property
    def conditions(self) -> dict[str, Any]:
        """Columns of the table and their values, those that are set."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name not in ("factor",) and fields[name] is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedLines:
    """A published table beside the measured values. A model's row is the one with the model's `row`, with `where`, and
    with the model's facts that `match` names (mixer, scale, model, label)."""

    table: str
    columns: Mapping[str, Column]
    match: tuple[str, ...] = ()
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: str | None = None  # None: every model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment, or its miniature."""

    name: str
    title: str
    paper: str = ""
    reproduces: str = ""
    note: str = ""
    models: tuple[ModelLine, ...]
    control: str | None = None  # the model whose differences to the others are of interest
    weights: Weights = "random"
    seeds: tuple[int, ...] = (0,)
    data: DataLines | None = None
    training: TrainingLines = dataclasses.field(default_factory=TrainingLines)
    analyses: tuple[Step, ...] = ()
    published: tuple[PublishedLines, ...] = ()
    device: Literal["any", "cuda"] = "any"
    plugins: tuple[str, ...] = ()
    miniature: bool = False

    def __post_init__(self) -> None:
        names = [line.model for line in self.models]
        if not names or len(set(names)) != len(names):
            twice = next((name for name in names if names.count(name) > 1), None)
            raise RefusedKeyError("models", "each model once, and at least one", f"{twice} twice" if twice else "none")
        if self.control is not None and self.control not in names:
            raise RefusedKeyError("control", "a control among the models", repr(self.control))
        seeds = self.seeds
        if not seeds or len(set(seeds)) != len(seeds) or not all(0 <= seed <= LARGEST_SEED for seed in seeds):
            got = ", ".join(map(str, seeds)) or "none"
            raise RefusedKeyError("seeds", f"seeds from 0 to {LARGEST_SEED}, each once, at least one", got)
        if self.weights == "trained" and self.data is None:
            raise RefusedKeyError("weights", "`data` to train on beside `weights: trained`", "none", "add `data`")
        self._check_detectors()
        if not self.analyses and self.weights != "trained":
            got = "neither analyses nor training"
            raise RefusedKeyError("analyses", "something to do", got, "add `analyses`")
        if self.weights == "trained" and self.data is not None:
            self._check_epochs(min(self._epochs(self.data, model) for model in names))
        elif any(step.at_epochs for step in self.analyses):
            got = f"at_epochs and {self.weights} weights"
            raise RefusedKeyError("analyses", "at_epochs with `weights: trained` alone", got, "remove `at_epochs`")

    @property
    def detectors(self) -> tuple[str, ...]:
        """The models that are detectors."""
        return tuple(line.model for line in self.models if ModelName.parse(line.model).detector is not None)

    def _check_detectors(self) -> None:
        """Detectors and classification models are trained on different sets, and each begins in its own way."""
        detectors = self.detectors
        others = [line.model for line in self.models if line.model not in detectors]
        if self.weights == "trained" and detectors and others:
            got = f"{detectors[0]} and {others[0]}"
            raise RefusedKeyError("models", "detectors alone, or none, to train", got, "write two files")
        if self.training.pretrained and (others or self.weights != "trained"):
            got = others[0] if others else f"{self.weights} weights"
            raise RefusedKeyError("training", "detectors to train, for `pretrained`", got, "remove `pretrained`")
        name = self.data.set.partition("[")[0] if self.data else ""
        if detectors and name in EMBEDDED and name not in WITH_BOXES:
            remedy = "write shapes, or a name such as coco, whose place --data gives"
            raise RefusedKeyError("data", "a set with boxes, for detectors", name, remedy)

    def _epochs(self, data: DataLines, model: str) -> int:
        """The recipe's, which is refused here where it makes no sense."""
        lines = self.training
        try:
            return recipe_for(lines.recipe or default_recipe(data.set, model), None, **lines.change).epochs
        except InputError as error:
            raise RefusedKeyError("training", error.expected, error.got, error.remedy) from error

    def _check_epochs(self, epochs: int) -> None:
        """Weights of an epoch can be looked at where training keeps them."""
        keep = self.training.keep_every
        for epoch in sorted({epoch for step in self.analyses for epoch in step.at_epochs}):
            if epoch > epochs:
                raise RefusedKeyError("analyses", f"at_epochs up to the {epochs} of the recipe", str(epoch))
            if keep is None or epoch % keep:
                got = "no `keep_every`" if keep is None else f"keep_every: {keep}"
                remedy = "add `keep_every: 1` to `training`" if keep is None else "correct one of them"
                raise RefusedKeyError("analyses", f"training to keep the weights of epoch {epoch}", got, remedy)
        analysed = {epochs, *(epoch for step in self.analyses for epoch in step.at_epochs)}
        for column in (column for block in self.published for column in block.columns.values()):
            if column.epoch not in (None, *analysed):
                known = ", ".join(map(str, sorted(analysed)))
                raise RefusedKeyError("published", f"an epoch whose weights are analysed: {known}", f"{column.epoch}")

    @property
    def about(self) -> tuple[tuple[str, str], ...]:
        """(name, text) of what the file says about itself: the paper, what of it is reproduced, a note."""
        said = (("Paper", self.paper), ("Reproduces", self.reproduces), ("Note", self.note))
        return tuple((name, printable(" ".join(text.split()))) for name, text in said if text.strip())

    @property
    def heading(self) -> str:
        """The title; a miniature says that it is one."""
        return printable(f"{self.title} (miniature)" if self.miniature else self.title)
