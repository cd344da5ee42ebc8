"""What a profile was asked for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from stmbench.errors import UnknownNameError, require
from stmbench.tables.labels import size_text

MODES = ("infer", "train")
LEVELS = ("model", "operator")
IMAGES = ("noise", "photos")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One resolution (height, width) and dtype: the models of a run are compared within a setting."""

    resolution: tuple[int, int]
    dtype: str

    @property
    def size(self) -> str:
        """The resolution in words: '224', or '32x64' where the input is no square."""
        return size_text(*self.resolution)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """All that a profile takes.

    `resolutions` None is the models' design size; `batch_size` None is automatic; `threads` None is torch's choice;
    `plugins` are paths of plug-in files, for the child processes that measure memory; `target_width` is the relative
    width that the ratios' intervals must fall below, and `time_budget` the seconds of sampling after which they need
    not.
    """

    models: tuple[str, ...]
    mode: str = "infer"
    level: str = "model"
    resolutions: tuple[tuple[int, int], ...] | None = None
    batch_size: int | None = None
    dtypes: tuple[str, ...] = ("fp32",)
    compile: bool = False
    channels_last: bool = False
    device: str = "cpu"
    threads: int | None = None
    seed: int = 0
    timing: bool = True
    target_width: float = 0.03
    time_budget: float = 120.0
    images: str = "noise"
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.models), "at least one model", "none", "name models, or a --scale")
        require(len(set(self.models)) == len(self.models), "each model once", ", ".join(self.models), "drop doubles")
        words = (("mode", self.mode, MODES), ("level", self.level, LEVELS), ("kind of images", self.images, IMAGES))
        for kind, word, known in words:
            if word not in known:
                raise UnknownNameError(kind, word, known)
        batch, threads = self.batch_size, self.threads
        require(batch is None or batch >= 1, "a batch size of at least 1, or auto", batch, "change --batch-size")
        require(threads is None or threads >= 1, "at least 1 thread", threads, "change --threads")
        require(0 < self.target_width < math.inf, "a target width above 0", self.target_width, "change --target-width")
        require(0 < self.time_budget < math.inf, "a time budget above 0 s", self.time_budget, "change --time-budget")

    @property
    def definition(self) -> str:
        """The protocol: profile.v2; profile.train.v2, profile.operator.v2, profile.channels_last.v2, and mixtures."""
        words = ["operator"] * (self.level == "operator") + ["train"] * (self.mode == "train")
        return ".".join(["profile", *words, *["channels_last"] * self.channels_last, "v2"])

    def settings(self, design: tuple[int, int]) -> Iterator[Setting]:
        """Every resolution with every dtype; `design` is the models' design size."""
        for resolution in self.resolutions or (design,):
            for dtype in self.dtypes:
                yield Setting(resolution=resolution, dtype=dtype)
