"""What a live comparison was asked for."""

from __future__ import annotations

import dataclasses
import math
import os

from stmbench.errors import UnknownNameError, require
from stmbench.measure.backend_settings import require_dtype

CLOCKS = ("auto", "processor", "wall")
# Models are built anew, each in a fresh process, this many times in the time limit, or every two seconds: where memory
# happens to lie makes one of two equal processes a percent or more faster for as long as it lies there.
LAYOUTS, LAYOUT_SECONDS = 12, 2.0
# After this share of the layouts sampling looks at the effect. Few looks: every one is a chance of a false alarm, and
# all of them share alpha.
LOOKS = (1 / 6, 1 / 3, 2 / 3, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """All that a live comparison takes.

    `resolution` None is the models' design size, `threads` None torch's choice; `seconds` is the time limit of sampling
    a model, `margin` the relative change of its time that matters. `plant` makes head slower by that share of every
    pass, to see whether it would be found.
    """

    models: tuple[str, ...]
    batch_size: int = 4
    resolution: tuple[int, int] | None = None
    dtype: str = "fp32"
    device: str = "cpu"
    threads: int | None = 1
    clock: str = "auto"
    seconds: float = 60.0
    margin: float = 0.03
    confirm: bool = False
    plant: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(bool(self.models), "at least one model", "none", "name models, or a --scale")
        require(len(set(self.models)) == len(self.models), "each model once", ", ".join(self.models), "drop doubles")
        require(self.batch_size >= 1, "a batch size of at least 1", self.batch_size, "change --batch-size")
        require(self.threads is None or self.threads >= 1, "at least 1 thread", self.threads, "change --threads")
        require(0 < self.seconds < math.inf, "a time limit above 0 s", self.seconds, "change --time-budget")
        require(0 < self.margin < 1, "a margin above 0 and below 1", self.margin, "3 % is --margin 0.03")
        require(0 <= self.plant <= 1, "a planted slowdown from 0 to 1", self.plant, "5 % is --plant 0.05")
        if self.clock not in CLOCKS:
            raise UnknownNameError("clock", self.clock, CLOCKS)
        on_device = self.clock == "processor" and self.device != "cpu"
        require_dtype(self.dtype, self.device)
        require(not on_device, "the wall clock on a device", "processor", "leave --clock out")

    @property
    def cores(self) -> tuple[int, ...]:
        """The cores that rounds of one thread are spread over; none where the system decides."""
        if self.device != "cpu" or self.threads != 1 or not hasattr(os, "sched_getaffinity"):
            return ()
        return tuple(sorted(os.sched_getaffinity(0)))

    @property
    def layouts(self) -> int:
        """How often the models are built in the time limit."""
        return min(LAYOUTS, max(1, round(self.seconds / LAYOUT_SECONDS)))

    @property
    def looks(self) -> set[int]:
        """The numbers of layouts after which sampling may stop."""
        return {math.ceil(share * self.layouts) for share in LOOKS}

    @property
    def chosen_clock(self) -> str:
        """'processor' where the work is one thread of the CPU, else 'wall'.

        Other processes that take the core do not count as this one's processor time, which on a shared machine halves a
        sample's spread or better. Of several threads it would be the sum, spinning included, and no speed.
        """
        if self.clock != "auto":
            return self.clock
        return "processor" if self.device == "cpu" and self.threads == 1 else "wall"

    @property
    def conditions(self) -> str:
        """In words, without the resolution."""
        threads = {None: "", 1: ", 1 thread"}.get(self.threads, f", {self.threads} threads")
        return f"batch {self.batch_size}, {self.dtype}, {self.device}{threads if self.device == 'cpu' else ''}"
