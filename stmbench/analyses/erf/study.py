"""Gradient maps of many images gathered, and the sizes they give, with bootstrap intervals over images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from stmbench.analyses.erf.definitions import Definition
from stmbench.analyses.erf.gradients import GradientMaps
from stmbench.analyses.erf.square_extent import Floats, profile, rings, sides_holding
from stmbench.analyses.erf.unit_location import Grid
from stmbench.measure.bootstrap import DRAWS, group_weights, percentile_interval
from stmbench.measure.statistics import Interval

KEPT = 2**25  # values of single images' maps that are kept for one stage; beyond it images are added up in groups
AT_ONCE = 2**23  # values of resampled maps made at a time
NONLINEAR_DRAWS = 200  # a definition that scales the mean map has to scale every resampled map


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """One size: of a definition and a percentage, as a share of the input's side."""

    definition: Definition
    percent: float
    interval: Interval


class StageMaps:
    """The maps of one stage, gathered batch by batch.

    Args:
        grid: where the stage's units are.
        image: (H, W) of the input.
        count: images to come.
    """

    def __init__(self, grid: Grid, image: tuple[int, int], count: int) -> None:
        self.grid, self.image = grid, image
        self.groups = max(1, min(count, max(8, KEPT // math.prod(image))))
        self.seen = 0
        self._sums = {
            name: np.zeros((self.groups, *image), dtype=np.float32) for name in ("magnitude", "rectified")
        }  # fmt: skip
        self._counts = np.zeros(self.groups, dtype=np.int64)

    def add(self, maps: GradientMaps) -> None:
        """Take in a batch; image n goes into group n modulo the number of groups."""
        for magnitude, rectified in zip(maps.magnitude.numpy(), maps.rectified.numpy(), strict=True):
            group = self.seen % self.groups
            self._sums["magnitude"][group] += magnitude
            self._sums["rectified"][group] += rectified
            self._counts[group] += 1
            self.seen += 1

    def mean(self, gradient: str) -> Floats:
        """(H, W) mean over images."""
        return np.asarray(self._sums[gradient].sum(0, dtype=np.float64) / max(1, self.seen))

    def sizes(self, chosen: Sequence[Definition], percents: Sequence[float], *, seed: int) -> Iterator[Size]:
        """Every definition at every percentage."""
        for definition in chosen:
            found = self._sides(definition, percents, seed=seed)
            for percent, (estimate, drawn) in zip(percents, found, strict=True):
                interval = percentile_interval(estimate, drawn, self.seen, omit_nan=True)
                yield Size(definition=definition, percent=percent, interval=interval)

    def _sides(self, definition: Definition, percents: Sequence[float], *, seed: int) -> list[tuple[float, Floats]]:
        """For each percentage the side of the mean map, and of resampled ones, over the input's side."""
        height, width = self.image
        centre = self.grid.centre if definition.centre == "unit" else (float(height // 2), float(width // 2))
        number, sides = rings(height, width, centre)
        ratios = sides / math.sqrt(height * width)
        sums = self._sums[definition.gradient]
        used = self._counts > 0
        mass = profile(definition.scaled(self.mean(definition.gradient)), number, len(sides))
        estimates = [float(sides_holding(mass, ratios, percent / 100)) for percent in percents]
        if used.sum() < 2:
            return [(estimate, np.empty(0)) for estimate in estimates]
        drawn_mass = []
        if definition.is_linear:
            own = profile(sums[used], number, len(sides))  # the mean of profiles is the profile of the mean
            for times in group_weights(self._counts[used], draws=DRAWS, step=DRAWS, seed=seed):
                drawn_mass.append(times @ own)
        else:
            step = max(1, AT_ONCE // math.prod(self.image))
            for times in group_weights(self._counts[used], draws=NONLINEAR_DRAWS, step=step, seed=seed):
                maps = np.tensordot(times.astype(np.float32), sums[used], axes=1)
                drawn_mass.append(profile(definition.scaled(maps.astype(np.float64)), number, len(sides)))
        drawn = np.concatenate(drawn_mass)
        return [(e, sides_holding(drawn, ratios, p / 100)) for e, p in zip(estimates, percents, strict=True)]
