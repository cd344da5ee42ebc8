"""Options of box consistency, and its levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

Kind = Literal["translation", "rotation", "scale"]
LEVELS: Final[Mapping[str, tuple[float, ...]]] = {
    "translation": tuple(float(n) for n in range(0, 65, 4)),
    "rotation": (0.0, 90.0, 180.0, 270.0),
    "scale": tuple(n / 4 for n in range(1, 13)),
}
THRESHOLD: Final = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxConfig:
    """`levels` are pixels of the detector's input, degrees, or factors of its sides; none: those of the definition.

    Boxes with a score of at least `threshold` in the image as it is are those to be found again.
    """

    kind: Kind
    levels: tuple[float, ...] = ()
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError("a score from 0 to 1", f"{self.threshold:g}", "change --threshold")
        for level in self.levels:
            if self.kind == "scale" and not 0.01 <= level <= 10:
                raise ConfigError("scales from 0.01 to 10", f"{level:g}", "change --levels")
            if self.kind == "rotation" and level not in LEVELS["rotation"]:
                expected = "angles of 0, 90, 180 or 270 degrees for boxes"
                raise ConfigError(expected, f"{level:g}", "change --levels: a box turned by others is no box")
            if self.kind == "translation" and not (0 <= level <= 1024 and level == round(level)):
                raise ConfigError("whole pixels from 0 to 1024", f"{level:g}", "change --levels")

    @property
    def chosen_levels(self) -> tuple[float, ...]:
        """In ascending order, each once."""
        return tuple(sorted(set(self.levels or LEVELS[self.kind])))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxConsistencyOptions(ImageOptions):
    """In an experiment box consistency is compared with the control's."""

    combines: ClassVar[bool] = True
    small: ClassVar[Mapping[str, Any]] = {
        **{"kind": "scale", "dataset": "shapes[size=64]", "num_images": 2, "resolution": "64", "levels": (1.0, 2.0)},
        "threshold": 0.0,
    }

    kind: Literal["translation", "rotation", "scale"] = option(
        "translation", help="translation, rotation or scale.", metavar="KIND", is_argument=True
    )
    dataset: str = option("shapes", help="shapes, or a path in COCO's format.", metavar="SET", completion="datasets")
    num_images: int | None = option(56, help="Images, drawn by --seed.", metavar="N", least=1)
    batch_size: int = option(8, help="Images per batch, which does not change a result.", metavar="N", least=1)
    levels: tuple[float, ...] = option(
        (), help="Levels, comma-separated; default: those of the definition.", metavar="NUMBERS", example="0.5,1,2"
    )
    threshold: float = option(
        THRESHOLD, help="Score from which a box in the image as it is has to be found again.", metavar="SCORE"
    )
    task: Literal["detection"] = option("detection", help="What the models do.", metavar="TASK")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.config  # refuses invalid values

    @property
    def config(self) -> BoxConfig:
        """The analysis's config."""
        return BoxConfig(kind=self.kind, levels=self.levels, threshold=self.threshold)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.box_consistency.analysis import BoxConsistency

        return BoxConsistency(self.config, self.request(run), store, control=run.control, listener=listener)

    def passes(self, images: int) -> float:
        return float(images * len(self.levels or LEVELS[self.kind]) * (2 if self.kind == "scale" else 1))
