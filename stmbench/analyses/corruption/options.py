"""The fifteen corruptions of ImageNet-C by family, and the options of the analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

FAMILIES: Final = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS: Final = tuple(name for names in FAMILIES.values() for name in names)
SEVERITIES: Final = (1, 2, 3, 4, 5)
CLEAN: Final = "clean"  # the table's condition of the uncorrupted images, at level 0
SIDE: Final = 224  # pixels of the images that the published parameters are for


def chosen_corruptions(words: Sequence[str]) -> tuple[str, ...]:
    """Names and families, in any order -> names in the published order, each once; none given means all fifteen.

    Raises:
        UnknownNameError: neither a corruption nor a family.
    """
    wanted: set[str] = set()
    for word in words:
        if word not in FAMILIES and word not in CORRUPTIONS:
            raise UnknownNameError("corruption", word, (*CORRUPTIONS, *FAMILIES))
        wanted.update(FAMILIES.get(word, (word,)))
    return tuple(name for name in CORRUPTIONS if name in wanted) if words else CORRUPTIONS


def overall(corruptions: Sequence[str]) -> str | None:
    """The table's `condition` of a mean over all of these: None for the published fifteen.

    A family has its name, any other selection the names joined by '+', so that nobody takes its mean for the published.
    """
    if len(corruptions) == len(CORRUPTIONS):
        return None
    return next((name for name, names in FAMILIES.items() if names == tuple(corruptions)), "+".join(corruptions))


def means_over(corruptions: Sequence[str]) -> dict[str | None, tuple[str, ...]]:
    """The `condition` of a mean -> the corruptions it is over: each by itself, whole families, and all of these."""
    means: dict[str | None, tuple[str, ...]] = {name: (name,) for name in corruptions}
    means.update((name, names) for name, names in FAMILIES.items() if set(names) <= set(corruptions))
    means[overall(corruptions)] = tuple(corruptions)
    return means


def require_severity(severity: int) -> None:
    """Raise ConfigError for anything but 1 to 5."""
    if severity not in SEVERITIES:
        raise ConfigError("a severity from 1 to 5", repr(severity), "choose one of them")


def title(condition: str) -> str:
    """How a corruption, or a family, is called in figures and tables: 'JPEG compression'."""
    words = condition.replace("_", " ")
    return words.replace("jpeg", "JPEG") if words.startswith("jpeg") else words[:1].upper() + words[1:]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionOptions(ImageOptions):
    """In an experiment the baseline is the experiment's control unless the step names another."""

    combines: ClassVar[bool] = True

    dataset: str = option(
        "digits",
        help="digits, photos, shapes, or a path: class folders, ImageNet, tar or Parquet, a saved Hugging Face set.",
        metavar="SET",
        completion="datasets",
    )
    corruptions: tuple[str, ...] = option(
        (),
        help="Corruptions or families (noise, blur, weather, digital), comma-separated; default: all fifteen.",
        metavar="NAMES",
        example="noise,fog",
    )
    baseline: str | None = option(
        None, help="Baseline model for relative errors (CE, mCE), from this run or the store.", metavar="MODEL"
    )
    as_jpeg: bool = option(
        False, help="Store each corrupted image as JPEG of quality 85, as the published data set does."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen_corruptions(self.corruptions)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.corruption.analysis import CorruptionConfig, CorruptionStudy

        baseline = self.baseline or (run.control if run.control in run.models else None)
        config = CorruptionConfig(corruptions=self.corruptions, baseline=baseline, as_jpeg=self.as_jpeg)
        return CorruptionStudy(config, self.request(run), store, listener=listener)

    def passes(self, images: int) -> float:
        return float(images * (1 + len(SEVERITIES) * len(chosen_corruptions(self.corruptions))))
