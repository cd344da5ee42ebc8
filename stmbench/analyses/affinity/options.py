"""Options of the affinity analysis."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityOptions(ImageOptions):
    """Numbers are taken of all layers; maps of `layers`, `positions` and `heads`."""

    num_images: int | None = option(
        8, help="Images, balanced over the classes and drawn by --seed.", metavar="N", least=1
    )
    batch_size: int = option(8, help="Images per batch.", metavar="N", least=1, most=2**20)
    layers: tuple[str | int, ...] = option(
        ("first", "last"),
        help="Layers whose maps to keep: first, last, all, numbers from 1, or STAGE.BLOCK.",
        metavar="LAYERS",
    )
    positions: tuple[int, ...] = option(
        (),
        help="Positions of the maps from 0, row by row on the layer's map; default: 25, 50, 90, 100 of a 14 x 14 map, "
        "put at the same place of any other.",
        metavar="POSITIONS",
        example="25,50",
    )
    heads: tuple[str | int, ...] = option(
        ("mean",), help="Heads of the maps: mean (the default), all, or numbers from 0.", metavar="HEADS"
    )
    per_image: bool = option(False, help="Keep the maps of every image instead of their mean.")
    radii: tuple[float, ...] = option(
        (), help="Radii that count as near, in tokens; default 1.5, 3.5, 7.", metavar="TOKENS", example="1.5,3.5"
    )
    jacobian: Literal["auto", "none", "mixer", "block"] = option(
        "auto",
        help="mixer or block: norms of its Jacobian at the chosen layers and positions, for any mixer; auto: for those "
        "without an affinity; none: never.",
        metavar="WHAT",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.config  # refuses invalid values

    @property
    def config(self) -> AffinityConfig:
        """The analysis's config."""
        return AffinityConfig(
            layers=tuple(map(str, self.layers)),
            positions=self.positions or None,
            heads=tuple(map(str, self.heads)),
            per_image=self.per_image,
            radii=self.radii or RADII,
            jacobian=self.jacobian,
        )

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.affinity.analysis import AffinityAnalysis

        return AffinityAnalysis(self.config, self.request(run), store, listener=listener)

    def passes(self, images: int) -> float:
        return float(images * 8)
