"""What a measurement of receptive fields was asked for."""

from __future__ import annotations

import dataclasses

from stmbench.analyses.erf.definitions import DEFINITIONS, definitions
from stmbench.analyses.erf.options import OURS
from stmbench.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErfConfig:
    """`stages` count from 0, None is all; `percents` of the map's mass, 50 being ERF@50; `definitions` by name.

    All definitions come from the same gradients; the first one is what tables and figures show.
    """

    stages: tuple[int, ...] | None = None
    percents: tuple[float, ...] = (50.0,)
    definitions: tuple[str, ...] = (OURS, *(name for name in DEFINITIONS if name != OURS))

    def __post_init__(self) -> None:
        definitions(self.definitions)
        if not self.definitions:
            raise ConfigError("at least one definition", "none", "change --definitions")
        if not self.percents:
            raise ConfigError("at least one percentage", "none", "change --percent")
        for percent in self.percents:
            if not 0 < percent <= 100:
                raise ConfigError("a percentage above 0 and at most 100", f"{percent:g}", "change --percent")
        if self.stages is not None and not self.stages:
            raise ConfigError("at least one stage", "none", "change --stages")
