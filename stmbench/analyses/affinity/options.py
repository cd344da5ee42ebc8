"""Options of the affinity analysis."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from stmbench.analyses.options import ImageOptions, RunSettings, option

if TYPE_CHECKING:
    from stmbench.analyses.affinity.config import AffinityConfig
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityOptions(ImageOptions):
    """Numbers are taken of all layers; maps of `layers`, `positions` and `heads`."""

    num_images: int | None = option(
        8, help="Images, balanced over the classes and drawn by --seed.", metavar="N", least=1
    )
    batch_size: int = option(8, help="Images in a batch.", metavar="N", least=1, most=2**20)
    layers: tuple[str | int, ...] = option(
        ("first", "last"), help="Of the maps: first, last, all, numbers from 1, or STAGE.BLOCK.", metavar="LAYERS"
    )
    positions: tuple[int, ...] = option(
        (),
        help="Of the maps: numbers from 0, row by row on the layer's map; default: 25, 50, 90, 100 of a 14 x 14 map, "
        "put at the same place of any other.",
        metavar="POSITIONS",
        example="25,50",
    )
    heads: tuple[str | int, ...] = option(
        ("mean",), help="Of the maps: mean (the default), all, or numbers from 0.", metavar="HEADS"
    )
    per_image: bool = option(False, help="Keep the maps of every image instead of their mean.")
    radii: tuple[float, ...] = option(
        (), help="How far is near, in tokens; default 1.5, 3.5, 7.", metavar="TOKENS", example="1.5,3.5"
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
        from stmbench.analyses.affinity.config import RADII, AffinityConfig

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
