"""Protocols of invariance, each with its name and version, and the perturbation that each means."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from stmbench.data.perturbations import FILLS, ORDERS, Fill, Order
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.data.perturbations import Perturbation
    from stmbench.data.preprocessing import Preprocessing

Kind = Literal["translation", "rotation", "scale"]
KINDS: Final[tuple[Kind, ...]] = ("translation", "rotation", "scale")
OURS, PAPER, AUTHORS = "stmbench.v1", "paper.v1", "authors_code.v1"
PROTOCOLS: Final = {"translation": (OURS, PAPER, AUTHORS), "rotation": (OURS, PAPER, AUTHORS), "scale": (OURS, AUTHORS)}

_SHIFTS = tuple(float(n) for n in range(0, 65, 4))
LEVELS: Final[dict[tuple[str, str], tuple[float, ...]]] = {
    ("translation", OURS): _SHIFTS,
    ("translation", PAPER): _SHIFTS,
    ("translation", AUTHORS): _SHIFTS,
    ("rotation", OURS): tuple(float(n) for n in range(0, 46, 5)),
    ("rotation", PAPER): tuple(float(n) for n in range(0, 46, 5)),
    ("rotation", AUTHORS): tuple(float(n) for n in range(0, 91, 5)),
    ("scale", OURS): (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
    ("scale", AUTHORS): tuple(round(0.2 + 0.125 * n, 3) for n in range(15)),
}

LARGEST: Final[dict[str, float]] = {"translation": 8192, "rotation": 360}  # pixels, degrees: no image asks for more


def require_protocol(kind: str, protocol: str) -> None:
    """Raise UnknownNameError for a protocol that this kind of perturbation does not have."""
    if protocol not in PROTOCOLS[kind]:
        raise UnknownNameError(f"definition of {kind} invariance", protocol, PROTOCOLS[kind])


def perturbation(
    kind: Kind, protocol: str, preprocessing: Preprocessing, *, fill: Fill, order: Order, seed: int
) -> Perturbation:
    """What a protocol does to images. `fill` and `order` are ours to choose; the others fix their fill."""
    from stmbench.data.perturbations import authors_code, crops, rotation

    if protocol != OURS:
        fill = "zeros"
    match kind:
        case "translation":
            translated = authors_code.AuthorsTranslation if protocol == AUTHORS else crops.Translation
            return translated(preprocessing=preprocessing, fill=fill, seed=seed)
        case "rotation":
            rotated = authors_code.AuthorsRotation if protocol == AUTHORS else rotation.Rotation
            return rotated(preprocessing=preprocessing, fill=fill, seed=seed, order=order)
        case "scale":
            scaled = authors_code.AuthorsScaling if protocol == AUTHORS else crops.Scaling
            return scaled(preprocessing=preprocessing, fill=fill, seed=seed)


def definition_of(kind: Kind, protocol: str, *, fill: Fill, order: Order) -> str:
    """The table's `definition`: the protocol, and what was chosen besides."""
    chosen: list[str] = [order] if kind == "rotation" and order == "after" else []
    chosen += [fill] if protocol == OURS and fill != "none" else []
    name, version = protocol.rsplit(".", 1)
    return ".".join([name, *chosen, version])


def condition_of(kind: Kind, protocol: str, order: Order) -> str | None:
    """The table's `condition`: the order of rotation and crop. The authors' rows say 'pre' of both (their defect)."""
    if kind != "rotation":
        return None
    return "pre" if protocol == AUTHORS else order


def require_levels(kind: Kind, levels: tuple[float, ...]) -> None:
    """Raise ConfigError for levels that are none of this kind."""
    if not levels:
        raise ConfigError("at least one level", "none", "change --levels")
    for level in levels:
        if not level >= 0 or level == float("inf"):
            raise ConfigError("levels of at least 0", f"{level:g}", "change --levels")
        if level > LARGEST.get(kind, level):
            raise ConfigError(f"levels of {kind} up to {LARGEST[kind]}", f"{level:g}", "change --levels")
        if kind == "translation" and level != round(level):
            raise ConfigError("whole pixels as levels of translation", f"{level:g}", "change --levels")
        if kind == "scale" and not 0.01 <= level <= 10:
            raise ConfigError("crop ratios from 0.01 to 10", f"{level:g}", "change --levels")


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
