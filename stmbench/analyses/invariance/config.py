"""What a measurement of invariance was asked for."""

from __future__ import annotations

import dataclasses

from stmbench.analyses.invariance.definitions import (
    KINDS,
    LEVELS,
    OURS,
    Kind,
    definition_of,
    require_levels,
    require_protocol,
)
from stmbench.data.perturbations.base import FILLS, Fill
from stmbench.data.perturbations.rotation import ORDERS, Order
from stmbench.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvarianceConfig:
    """`kind` of perturbation, `protocol` (ours, the paper's, the authors'), `levels` (None: the protocol's).

    `fill` is for ours alone; `order` is that of rotation and crop.
    """

    kind: Kind
    protocol: str = OURS
    levels: tuple[float, ...] | None = None
    fill: Fill = "none"
    order: Order = "before"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"a kind ({', '.join(KINDS)})", repr(self.kind), "name one of them")
        require_protocol(self.kind, self.protocol)
        require_levels(self.kind, self.chosen_levels)
        if self.fill not in FILLS:
            raise ConfigError("a padding (none, zeros, reflect)", repr(self.fill), "change --pad")
        if self.order not in ORDERS:
            raise ConfigError("an order (before, after)", repr(self.order), "change --order")
        if self.protocol != OURS and self.fill != "none":
            raise ConfigError(f"no --pad with {self.protocol}, which has its own", self.fill, "leave --pad out")

    @property
    def chosen_levels(self) -> tuple[float, ...]:
        """The levels in ascending order, each once."""
        levels = LEVELS[self.kind, self.protocol] if self.levels is None else self.levels
        return tuple(sorted(set(levels)))

    @property
    def definition(self) -> str:
        """The table's `definition`."""
        return definition_of(self.kind, self.protocol, fill=self.fill, order=self.order)
