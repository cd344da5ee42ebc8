"""What a test of robustness was asked for, beside models and images."""

from __future__ import annotations

import dataclasses

from stmbench.analyses.robustness.attacks import Attack, attack_named
from stmbench.analyses.robustness.eps import PAPER, checked, eps_of, ordered
from stmbench.errors import ConfigError

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
