"""Options of the similarity analysis, and the names of its metrics and conditions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

NAME: Final = "similarity"
CKA: Final = "cka"  # of two layers of a model, or of two models (`baseline` is the other one)
RANK: Final = "effective_rank"
UNIFORMITY: Final = "uniformity"

# conditions
BLOCK: Final = "block"  # the map after a block
POOLED: Final = "pooled features"
FIRST_TO_LAST: Final = "first block to last"

IMAGES: Final = 256
BATCH: Final = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarityOptions(ImageOptions):
    """`batch` is the number of images of CKA's minibatches; None: 256, or all images where they are fewer."""

    combines: ClassVar[bool] = True

    num_images: int | None = option(IMAGES, help="Images, balanced over the classes and drawn by --seed.", metavar="N",
                                    least=4)  # fmt: skip
    features: Literal["flat", "pooled"] = option(
        "flat",
        help="What CKA takes of a map: flat (every position of every channel) or pooled (means over positions).",
        metavar="WHAT",
    )
    batch: int | None = option(
        None,
        help="Images of a minibatch of CKA, at least 4; default: 256, or all images where they are fewer.",
        metavar="N",
        least=4,
        most=16_384,
    )
    pairs: Literal["control", "all"] = option(
        "control",
        help="Pairs of models compared layer by layer: control (all with the control, or with the first model) or all.",
        metavar="WHICH",
    )

    @property
    def definition(self) -> str:
        """The table's `definition` of what depends on --features."""
        return f"{NAME}.{self.features}.v1"

    def minibatch(self, images: int) -> int:
        """Images of a minibatch, of `images` in all. Raises ConfigError where there are too few images."""
        if images < 4:
            raise ConfigError("at least 4 images", str(images), "use a larger set")
        if self.batch is not None and self.batch > images:
            remedy = "lower --batch, or raise --num-images"
            raise ConfigError(f"a minibatch of at most {images} images, which is all", str(self.batch), remedy)
        return min(self.batch or BATCH, images)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.similarity.analysis import SimilarityAnalysis

        return SimilarityAnalysis(self, self.request(run), store, control=run.control, listener=listener)
