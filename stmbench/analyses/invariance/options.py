"""Options of the invariance analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.analyses.invariance.definitions import InvarianceConfig
    from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvarianceOptions(ImageOptions):
    """`levels` are pixels, degrees or crop ratios; none: those of the definition."""

    combines: ClassVar[bool] = True
    in_experiments: ClassVar[Mapping[str, Any]] = {"num_images": None}
    small: ClassVar[Mapping[str, Any]] = {**ImageOptions.small, "levels": (0.0, 2.0), "pad": "zeros"}
    old_keys: ClassVar[Mapping[str, str]] = {"set": "dataset", "protocol": "definition"}

    kind: Literal["translation", "rotation", "scale"] = option(
        "translation", help="translation, rotation or scale.", metavar="KIND", is_argument=True
    )
    num_images: int | None = option(
        56, help="Images, balanced over the classes and drawn by --seed.", metavar="N", least=1
    )
    batch_size: int = option(16, help="Images per batch.", metavar="N", least=1, most=2**20)
    levels: tuple[float, ...] = option(
        (), help="Levels, comma-separated; default: those of the definition.", metavar="NUMBERS", example="0,8,16"
    )
    pad: Literal["none", "zeros", "reflect"] = option(
        "none", help="Padding beyond the image: none (such levels are left out), zeros or reflect.", metavar="HOW"
    )
    order: Literal["before", "after"] = option("before", help="Rotate before or after the crop.", metavar="ORDER")
    task: Literal["auto", "classification", "detection"] = option(
        "auto", help="What the models do: classification or detection; auto: as their names say.", metavar="TASK"
    )
    threshold: float | None = option(
        None, help="Of detectors: score from which a box has to be found again; default: 0.5.", metavar="SCORE"
    )
    definition: str = option("stmbench.v1", help="stmbench.v1, paper.v1 or authors_code.v1.", metavar="NAME")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order != "before" and self.kind != "rotation":
            raise ConfigError("--order with rotation", f"it with {self.kind}", "leave --order out")
        _ = self.config  # refuses invalid values

    @property
    def config(self) -> InvarianceConfig:
        """The analysis's config."""
        from stmbench.analyses.invariance.definitions import InvarianceConfig

        return InvarianceConfig(
            kind=self.kind, protocol=self.definition, levels=self.levels or None, fill=self.pad, order=self.order
        )

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.invariance.analysis import Invariance
        from stmbench.analyses.models import for_models
        from stmbench.analyses.registry import ANALYSES

        _, instead = for_models(ANALYSES.get("invariance"), self, run.models)
        if instead is not self:
            return instead.analysis(run, store, listener)
        if self.task == "detection":
            raise ConfigError("detectors, for --task detection", run.models[0], f"write maskrcnn:{run.models[0]}")
        if self.threshold is not None:
            raise ConfigError("no --threshold without detectors", f"{self.threshold:g}", "leave it out")
        return Invariance(self.config, self.request(run), store, control=run.control, listener=listener)

    def passes(self, images: int) -> float:
        from stmbench.analyses.invariance.definitions import LEVELS

        return float(images * (len(self.levels or LEVELS[self.kind, self.definition]) + 1))
