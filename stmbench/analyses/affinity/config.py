"""What a look at affinities was asked for, beside models and images."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

from stmbench.errors import ConfigError

REFERENCE: Final = 14  # side of the map that the default positions are meant for
PAPER: Final = (25, 50, 90, 100)  # positions of Gao et al. 2021, Fig. 1, on that map
RADII: Final = (1.5, 3.5, 7.0)  # tokens: a 3 x 3 neighbourhood lies within 1.5
Influence = Literal["auto", "none", "mixer", "block"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityConfig:
    """Which rows to keep as maps, and how far is near.

    Attributes:
        positions: row by row on each chosen layer's map; None for the paper's four, put at the same place of any map.
        layers: 'first', 'last', 'all', numbers from 1, or STAGE.BLOCK (both from 1), of the maps. Numbers are taken of
            all layers.
        heads: 'mean' (of the absolute weights), 'all', or numbers from 0.
        per_image: whether maps are kept image by image instead of averaged.
        radii: in tokens of a layer's map.
        jacobian: 'mixer' or 'block' for the Jacobian affinity of these, at the chosen layers and positions; 'none' for
            the affinities that mixers offer; 'auto' for those, and for the Jacobian's of mixers that offer none.
    """

    positions: tuple[int, ...] | None = None
    layers: tuple[str, ...] = ("first", "last")
    heads: tuple[str, ...] = ("mean",)
    per_image: bool = False
    radii: tuple[float, ...] = RADII
    jacobian: Influence = "auto"

    def __post_init__(self) -> None:
        if self.positions is not None:
            _each_once(self.positions, "position", "--positions")
            _not_negative(self.positions, "a position", "--positions")
        _each_once(self.layers, "layer", "--layers")
        for word in self.layers:
            if word not in ("first", "last", "all") and not _is_layer(word):
                expected = "layers as first, last, all, numbers from 1 or STAGE.BLOCK"
                raise ConfigError(expected, repr(word), "change --layers")
        _each_once(self.heads, "head", "--heads")
        for word in self.heads:
            if word not in ("mean", "all") and not _is_number(word, 0):
                raise ConfigError("heads as mean, all or numbers from 0", repr(word), "change --heads")
        _each_once(self.radii, "radius", "--radii")
        if not all(0 <= radius < float("inf") for radius in self.radii):
            raise ConfigError("radii of at least 0 tokens", repr(self.radii), "change --radii")
        if self.jacobian not in ("auto", "none", "mixer", "block"):
            expected = "the Jacobian of a mixer or a block (or auto, or none)"
            raise ConfigError(expected, repr(self.jacobian), "change --jacobian")
        if self.is_jacobian and self.heads != ("mean",):
            raise ConfigError("no heads with --jacobian: it has none", ", ".join(self.heads), "leave --heads out")

    @property
    def is_jacobian(self) -> bool:
        """Whether Jacobians were asked for, and nothing else."""
        return self.jacobian in ("mixer", "block")

    def positions_on(self, height: int, width: int) -> tuple[int, ...]:
        """The positions on a map: those asked for, or the paper's at the same place of this map."""
        if self.positions is not None:
            return self.positions
        places = [divmod(position, REFERENCE) for position in PAPER]
        return tuple(
            (2 * y + 1) * height // (2 * REFERENCE) * width + (2 * x + 1) * width // (2 * REFERENCE) for y, x in places
        )


def _is_layer(word: str) -> bool:
    parts = word.split(".")
    return len(parts) <= 2 and all(_is_number(part, 1) for part in parts)


def _is_number(word: str, least: int) -> bool:
    return word.isascii() and word.isdigit() and int(word) >= least


def _each_once(values: tuple[object, ...], what: str, option: str) -> None:
    if not values or len(set(values)) != len(values):
        raise ConfigError(f"each {what} once, and at least one", repr(values), f"change {option}")


def _not_negative(values: tuple[int, ...], what: str, option: str) -> None:
    if min(values) < 0:
        raise ConfigError(f"{what} of at least 0", str(min(values)), f"change {option}")
