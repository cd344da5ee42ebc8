"""Options of the effective receptive field."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.analyses.erf.definitions import ErfConfig
    from stmbench.tables import Store

OURS: Final = "stmbench.magnitude.linear.v1"  # shown unless another definition is asked for


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErfOptions(ImageOptions):
    """`stages` count from 1; `percent` of the map's mass, 50 being ERF@50."""

    num_images: int | None = option(28, help="Images, balanced over the classes and drawn by --seed.", metavar="N",
                                    least=1)  # fmt: skip
    batch_size: int = option(8, help="Images per batch.", metavar="N", least=1, most=2**20)
    stages: tuple[int, ...] = option((), help="Stages from 1, comma-separated; default: all.", metavar="NUMBERS",
                                     example="3")  # fmt: skip
    percent: tuple[float, ...] = option(
        (50.0,), help="Percentages of the map's mass, such as 50,90; default: 50.", metavar="NUMBERS", example="50"
    )
    definition: str | None = option(
        None, help="Definition shown in the table and figures; the store gets all of them.", metavar="NAME"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(stage < 1 for stage in self.stages):
            raise ConfigError("stages from 1", ", ".join(map(str, self.stages)), "change --stages")
        _ = self.config  # refuses invalid values
        if self.definition is not None:
            from stmbench.analyses.erf.definitions import definitions

            definitions((self.definition,))

    @property
    def config(self) -> ErfConfig:
        """The analysis's config."""
        from stmbench.analyses.erf.definitions import ErfConfig

        stages = tuple(sorted({stage - 1 for stage in self.stages})) or None
        return ErfConfig(stages=stages, percents=self.percent)

    @property
    def shown(self) -> str:
        return self.definition or OURS

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.erf.analysis import Erf

        return Erf(self.config, self.request(run), store, listener=listener)

    def passes(self, images: int) -> float:
        return float(images * 3 * (len(self.stages) or 4))
