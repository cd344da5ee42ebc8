"""An experiment: what one file says, checked. experiments/README.md describes the keys for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from stmbench.errors import ConfigError
from stmbench.sweeps.kinds import Kind

Weights = Literal["random", "trained", "files"]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLines:
    """How models are trained: a recipe by name (None: the set's own, or `stm`) and changes of its fields."""

    recipe: str | None = None
    change: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "fp32"
    accumulate: int = 1
    keep_every: int | None = None


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
    analyses: tuple[Kind, ...] = ()
    published: tuple[PublishedLines, ...] = ()
    device: Literal["any", "cuda"] = "any"
    plugins: tuple[str, ...] = ()
    miniature: bool = False

    def __post_init__(self) -> None:
        names = [line.model for line in self.models]
        if not names or len(set(names)) != len(names):
            raise ConfigError("each model once, and at least one", ", ".join(names) or "none", "correct `models`")
        if self.control is not None and self.control not in names:
            raise ConfigError("a control among the models", repr(self.control), "correct `control`")
        if self.weights == "trained" and self.data is None:
            raise ConfigError("`data` to train on", "none", "add `data: {set: digits}`")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError("each seed once, and at least one", repr(self.seeds), "correct `seeds`")
        if not self.analyses and self.weights != "trained":
            raise ConfigError("something to do", "neither analyses nor training", "add `analyses`")

    @property
    def heading(self) -> str:
        """The title; a miniature says that it is one."""
        return f"{self.title} (miniature)" if self.miniature else self.title
