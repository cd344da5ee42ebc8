"""The definitions of an effective receptive field's size, each with its name and version."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from stmbench.analyses.erf.options import OURS
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DECADES = 3  # of the scale-free logarithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definition:
    """Which gradient is gathered, how the mean map is scaled, and what the square is centred on.

    `gradient`: 'magnitude', or 'rectified' (negative gradients dropped). `centre`: the 'unit', or the 'image' (its
    pixel (H // 2, W // 2)). Scalings are applied to the mean over images.
    """

    name: str
    gradient: Literal["magnitude", "rectified"] = "magnitude"
    scaling: Literal["linear", "log", "quarter", "log10(x+1)"] = "linear"
    centre: Literal["unit", "image"] = "unit"

    @property
    def is_linear(self) -> bool:
        """Whether the mean of maps may be taken after everything else."""
        return self.scaling == "linear"

    def scaled(self, maps: Floats) -> Floats:
        """(..., H, W), not negative -> the same, scaled.

        'log' is log10(1 + 1000 x / max x): unlike log10(x + 1) it does not depend on the unit of x.
        """
        import numpy as np

        match self.scaling:
            case "linear":
                return maps
            case "quarter":
                return np.sqrt(np.sqrt(maps))
            case "log10(x+1)":
                return np.log10(maps + 1)
        peak = maps.max(axis=(-2, -1), keepdims=True)
        relative = np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)
        return np.asarray(np.log10(1 + 10**DECADES * relative))


DEFINITIONS: Final = {
    definition.name: definition
    for definition in (
        Definition(name=OURS),
        Definition(name="stmbench.magnitude.log.v1", scaling="log"),
        Definition(name="stmbench.magnitude.quarter.v1", scaling="quarter"),
        Definition(name="stmbench.rectified.linear.v1", gradient="rectified"),
        Definition(name="stmbench.rectified.log.v1", gradient="rectified", scaling="log"),
        Definition(name="stmbench.rectified.quarter.v1", gradient="rectified", scaling="quarter"),
        Definition(name="paper.v1", centre="image"),
        Definition(name="authors_code.v1", gradient="rectified", scaling="log10(x+1)", centre="image"),
    )
}


def definitions(names: tuple[str, ...]) -> list[Definition]:
    """The definitions of these names. Raises UnknownNameError."""
    for name in names:
        if name not in DEFINITIONS:
            raise UnknownNameError("definition of the receptive field", name, DEFINITIONS)
    return [DEFINITIONS[name] for name in names]


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
