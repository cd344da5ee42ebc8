"""Profiles in an experiment file."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.profile.analysis import Profile
from stmbench.analyses.profile.config import ProfileConfig
from stmbench.experiments.steps.base import Kind, Subjects
from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileKind(Kind):
    """`stmbench profile`."""

    name: ClassVar[str] = "profile"
    needs_images: ClassVar[bool] = False
    alone: ClassVar[bool] = True

    resolution: tuple[int, ...] = ()
    batch_size: int | None = None
    dtype: tuple[str, ...] = ("fp32",)
    mode: Literal["infer", "train"] = "infer"
    level: Literal["model", "operator"] = "model"
    timing: bool = True
    compile: bool = False
    channels_last: bool = False
    images: Literal["noise", "photos"] = "noise"
    target_width: float = 0.03
    time_budget: float = 120.0

    def __post_init__(self) -> None:
        self.config(("any",), device="cpu", seed=0, plugins=())  # refuses what makes no sense

    def make(self, subjects: Subjects, store: Store, listener: Listener | None) -> Analysis:
        config = self.config(subjects.models, device=subjects.device, seed=subjects.seed, plugins=subjects.plugins)
        return Profile(config, store, listener=listener)

    def config(self, models: tuple[str, ...], *, device: str, seed: int, plugins: tuple[str, ...]) -> ProfileConfig:
        """The analysis's config for these models."""
        return ProfileConfig(
            models=models,
            mode=self.mode,
            level=self.level,
            resolutions=tuple((side, side) for side in self.resolution) or None,
            batch_size=self.batch_size,
            dtypes=self.dtype,
            compile=self.compile,
            channels_last=self.channels_last,
            device=device,
            seed=seed,
            timing=self.timing,
            target_width=self.target_width,
            time_budget=self.time_budget,
            images=self.images,
            plugins=plugins,
        )

    def passes(self, images: int) -> float:
        return 0.0
