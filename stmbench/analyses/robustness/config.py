"""What a test of robustness was asked for, beside models and images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from stmbench.analyses.robustness.attacks import Attack, attack_named
from stmbench.errors import ConfigError

PAPER = ("8/255", "2/255", "0.5/255")  # Hu et al., section 6.3
REMEDY = "change --eps: pixels lie in [0, 1], so the paper's largest is 8/255"
LEVELS = 255


def eps_of(text: str) -> float:
    """The number that a text such as '8/255', '0.5/255' or '0.03' means. Raises ConfigError outside [0, 1]."""
    parts = text.strip().split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or (len(numbers) == 2 and numbers[1] == 0):
        raise ConfigError("an eps such as 8/255 or 0.03", repr(text), REMEDY)
    return checked(numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0], text)


def checked(value: float, text: str | None = None) -> float:
    """The eps itself, where it is a number in [0, 1]; else raises ConfigError."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ConfigError("an eps from 0 to 1", repr(value if text is None else text), REMEDY)
    return abs(value)  # -0.0 is 0


def ordered(values: Iterable[float]) -> tuple[float, ...]:
    """Each value once, from the smallest up."""
    return tuple(sorted(set(values)))


def words(value: float) -> str:
    """How an eps is said: in 255ths where these are whole or quarters, as '0.5/255', else as a decimal."""
    quarters = round(value * LEVELS * 4)
    if 0 < value < 1 and math.isclose(quarters, value * LEVELS * 4, rel_tol=1e-9):
        return f"{quarters / 4:.10g}/{LEVELS}"
    return f"{value:.6g}"


STEPS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """Attacks by name, eps on the scale [0, 1], and the steps of attacks that iterate.

    Raises ConfigError for eps outside [0, 1], UnknownNameError for an attack that is not known, and InputError, naming
    the extra, for one that needs torchattacks where it is not installed.
    """

    attacks: tuple[str, ...] = ("fgsm",)
    eps: tuple[float, ...] = ordered(eps_of(text) for text in PAPER)
    steps: int = STEPS

    def __post_init__(self) -> None:
        if not self.attacks or len(set(self.attacks)) != len(self.attacks):
            raise ConfigError("each attack once, and at least one", repr(self.attacks), "change --attacks")
        if not self.eps:
            raise ConfigError("at least one eps", "none", "change --eps")
        if self.steps < 1:
            raise ConfigError("at least one step", repr(self.steps), "change --steps")
        object.__setattr__(self, "eps", ordered(checked(value) for value in self.eps))
        self.chosen()

    def chosen(self) -> list[Attack]:
        """The attacks, in the order asked for."""
        return [attack_named(name) for name in self.attacks]
