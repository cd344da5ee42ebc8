"""What a study is asked for."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from stmbench.errors import ConfigError

BASELINES: Final = ("dw_conv", "halo_attn")
UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """A mixer against others, in the unified architecture.

    Attributes:
        mixer: in the registry; baselines: others there, that it is compared with.
        dataset: digits, shapes, or the path of a labelled set with the splits `train` and `test` (or `val`).
        seeds: how many trainings of each model.
        budget: seconds for all of it; None: as long as it takes.
        layer_scale: of every model at the beginning of training; None: the architecture's. The papers' 1e-6 leaves
            mixers without a part in what small sets teach in minutes.
        control: a mixer that every study trains alongside; identity: nothing in the mixer's place.
        analyses: of plug-ins, with their own defaults, measured of the first training of each model.
    """

    mixer: str
    baselines: tuple[str, ...] = BASELINES
    dataset: str = "digits"
    scale: str = "nano"
    seeds: int = 3
    budget: float | None = None
    layer_scale: float | None = 1.0
    control: str = "identity"
    analyses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        detector = next((name for name in (self.mixer, *self.baselines) if ":" in name), None)
        if detector is not None:
            remedy = f"train a detector by itself: stmbench train {detector}"
            raise ConfigError("a mixer, which a study trains in a classification model", detector, remedy)
        if not self.baselines:
            raise ConfigError("a mixer to compare with", "none", "name one with --against")
        if self.mixer in self.baselines:
            raise ConfigError("other mixers to compare with", repr(self.mixer), "correct --against")
        if len({*self.baselines}) != len(self.baselines):
            raise ConfigError("each mixer once", repr(",".join(self.baselines)), "correct --against")
        if self.seeds < 1:
            raise ConfigError("at least one seed", repr(self.seeds), "change --seeds")

    @property
    def mixers(self) -> tuple[str, ...]:
        """The mixer, the baselines, and the control where it is none of them."""
        return tuple(dict.fromkeys([self.mixer, *self.baselines, self.control]))


def seconds_of(text: str) -> float:
    """20m, 90s, 1.5h, 1h30m, or a number of seconds. Raises ConfigError."""
    matches = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    parts = "".join(number + unit for number, unit in matches)
    if re.fullmatch(r"\d+(?:\.\d+)?", text.strip()):
        total = float(text)
    elif parts and parts == re.sub(r"\s", "", text.lower()):
        total = sum(float(number) * UNITS[unit] for number, unit in matches)
    else:
        raise ConfigError("a time such as 20m, 90s or 1h30m", repr(text), "change --budget")
    if total <= 0:
        raise ConfigError("a time above 0", repr(text), "change --budget")
    return total
