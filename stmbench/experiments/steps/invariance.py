"""Measurements of invariance in an experiment file."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.invariance.analysis import Invariance
from stmbench.analyses.invariance.config import InvarianceConfig
from stmbench.analyses.invariance.definitions import KINDS, LEVELS, OURS
from stmbench.experiments.steps.base import ImageKind, Subjects
from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvarianceKind(ImageKind):
    """`stmbench invariance`; `levels` none are the protocol's."""

    batch_size: int = 16
    protocol: str = OURS
    levels: tuple[float, ...] = ()
    order: Literal["before", "after"] = "before"
    pad: Literal["none", "zeros", "reflect"] = "none"

    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        return Invariance(self.config, self.request(subjects), store, listener=listener)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name in KINDS:
            _ = self.config  # refuses what makes no sense

    @property
    def config(self) -> InvarianceConfig:
        """The analysis's config."""
        kind: Any = self.name
        return InvarianceConfig(
            kind=kind, protocol=self.protocol, levels=self.levels or None, fill=self.pad, order=self.order
        )

    def passes(self, images: int) -> float:
        kind: Any = self.name
        return float(images * (len(self.levels or LEVELS[kind, self.protocol]) + 1))


class TranslationKind(InvarianceKind):
    """Shifts by pixels."""

    name: ClassVar[str] = "translation"


class RotationKind(InvarianceKind):
    """Turns by degrees."""

    name: ClassVar[str] = "rotation"


class ScaleKind(InvarianceKind):
    """Crops of the shorter side."""

    name: ClassVar[str] = "scale"
