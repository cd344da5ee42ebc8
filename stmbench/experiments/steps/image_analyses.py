"""Accuracy, receptive fields, attacks and affinities in an experiment file."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from stmbench.analyses.affinity.analysis import AffinityAnalysis
from stmbench.analyses.affinity.config import AffinityConfig
from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.erf.analysis import Erf
from stmbench.analyses.erf.config import ErfConfig
from stmbench.analyses.evaluation import Evaluation
from stmbench.analyses.robustness.analysis import Robustness
from stmbench.analyses.robustness.config import RobustnessConfig
from stmbench.analyses.robustness.eps import eps_of
from stmbench.errors import ConfigError
from stmbench.experiments.steps.base import ImageKind, Subjects
from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalKind(ImageKind):
    """`stmbench eval`, and the accuracies' differences to the control's."""

    name: ClassVar[str] = "eval"
    combines: ClassVar[bool] = True

    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        control = subjects.control if subjects.control in subjects.models else None
        request = self.request(subjects)
        return Evaluation(request, store, keep_predictions=True, control=control, listener=listener)

    def passes(self, images: int) -> float:
        return float(images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErfKind(ImageKind):
    """`stmbench erf`; stages from 1."""

    name: ClassVar[str] = "erf"
    num_images: int | None = 28
    batch_size: int = 8
    stages: tuple[int, ...] = ()
    percent: tuple[float, ...] = (50.0,)

    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        return Erf(self.config, self.request(subjects), store, listener=listener)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(stage < 1 for stage in self.stages):
            raise ConfigError("stages from 1", ", ".join(map(str, self.stages)), "correct `stages`")
        _ = self.config  # refuses what makes no sense

    @property
    def config(self) -> ErfConfig:
        """The analysis's config."""
        return ErfConfig(stages=tuple(stage - 1 for stage in self.stages) or None, percents=self.percent)

    def passes(self, images: int) -> float:
        return float(images * 3 * (len(self.stages) or 4))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessKind(ImageKind):
    """`stmbench robustness`; eps as the command takes them: 8/255."""

    name: ClassVar[str] = "robustness"
    combines: ClassVar[bool] = True
    attacks: tuple[str, ...] = ("fgsm",)
    eps: tuple[str | float, ...] = ()
    steps: int = 10

    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        return Robustness(self.config, self.request(subjects), store, listener=listener)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.config  # refuses what makes no sense

    @property
    def config(self) -> RobustnessConfig:
        """The analysis's config."""
        eps = {"eps": tuple(eps_of(str(value)) for value in self.eps)} if self.eps else {}
        return RobustnessConfig(attacks=self.attacks, steps=self.steps, **eps)

    def passes(self, images: int) -> float:
        return float(images * len(self.attacks) * (6 if self.attacks == ("fgsm",) else 3 * self.steps * 4))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityKind(ImageKind):
    """`stmbench affinity`."""

    name: ClassVar[str] = "affinity"
    num_images: int | None = 8
    batch_size: int = 8
    layers: tuple[str | int, ...] = ("first", "last")
    positions: tuple[int, ...] = ()
    heads: tuple[str | int, ...] = ("mean",)
    jacobian: Literal["mixer", "block"] | None = None

    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        return AffinityAnalysis(self.config, self.request(subjects), store, listener=listener)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.config  # refuses what makes no sense

    @property
    def config(self) -> AffinityConfig:
        """The analysis's config."""
        return AffinityConfig(
            layers=tuple(map(str, self.layers)),
            positions=self.positions or None,
            heads=tuple(map(str, self.heads)),
            jacobian=self.jacobian,
        )

    def passes(self, images: int) -> float:
        return float(images * 8)
