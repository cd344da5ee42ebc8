"""What an analysis in an experiment file is: options, and the way to the analysis itself."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.models import DTYPES
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subjects:
    """What an analysis is made for: models, their weights (none: random), the set and how it is all run."""

    models: tuple[str, ...]
    checkpoints: Mapping[str, Path]
    dataset: str
    split: str
    seed: int
    device: str
    control: str | None = None
    plugins: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind(abc.ABC):
    """Base of the kinds. `alone`: nothing else may run meanwhile; `combines`: the models are also compared."""

    name: ClassVar[str]
    needs_images: ClassVar[bool] = True
    alone: ClassVar[bool] = False
    combines: ClassVar[bool] = False

    @abc.abstractmethod
    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        """The analysis. Raises what its config raises."""

    @abc.abstractmethod
    def passes(self, images: int) -> float:
        """Forward passes of one model, a backward pass counting as two: for the estimate of time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageKind(Kind):
    """What analyses of images share. `set` None is the experiment's; `at_epochs`: of training, instead of its end."""

    set: str | None = None
    split: str | None = None
    num_images: int | None = None
    resolution: int | None = None
    batch_size: int = 32
    dtype: str = "fp32"
    at_epochs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("num_images", "resolution", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} >= 1", repr(value), f"correct `{name}`")
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        epochs = self.at_epochs
        if len(set(epochs)) != len(epochs) or any(epoch < 1 for epoch in epochs):
            raise ConfigError("epochs from 1, each once", ", ".join(map(str, epochs)), "correct `at_epochs`")

    def request(self, subjects: Subjects) -> ImageRequest:
        """Models and images brought together."""
        return ImageRequest(
            models=subjects.models,
            checkpoints=subjects.checkpoints,
            dataset=self.set or subjects.dataset,
            split=self.split or subjects.split,
            num_images=self.num_images,
            or_fewer=self.num_images == type(self).num_images,  # the default, or as good as that
            resolution=(self.resolution, self.resolution) if self.resolution else None,
            seed=subjects.seed,
            device=subjects.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
        )


def images_of(kind: Kind, subjects: Subjects) -> int:
    """How many images the kind will look at."""
    if not isinstance(kind, ImageKind):
        return 0
    if kind.num_images is not None:
        return kind.num_images
    found = open_set(kind.set or subjects.dataset, split=kind.split or subjects.split, seed=subjects.seed)
    return len(found)
