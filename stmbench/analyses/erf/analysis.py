"""`erf`: a unit of work for each model, a row for each stage, definition and percentage, the maps in a file alongside.

`StageMaps` gathers the gradient maps of many images, and gives sizes with bootstrap intervals over images.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.detector_analysis import body_of_detector
from stmbench.analyses.erf.definitions import Definition, ErfConfig, definitions
from stmbench.analyses.erf.unit_location import Grid, grids, probe
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.models import meta_model
from stmbench.analyses.stages import Stage, chosen_stages, stage_maps
from stmbench.analyses.unit import Unit
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.detectors.trunk import body_of
from stmbench.errors import UnitError
from stmbench.measure.bootstrap import DRAWS, group_weights, percentile_interval
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.files import write_arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientMaps:
    """Of one stage and a batch, both (B, H, W) float32 on the CPU.

    `magnitude` is the Euclidean norm of the gradient over the image's channels, `rectified` the sum over channels of
    its positive part.
    """

    magnitude: Tensor
    rectified: Tensor


def gradient_maps(model: nn.Module, stages: Sequence[Stage], images: Tensor) -> Iterator[GradientMaps]:
    """The maps of each stage, in their order.

    Args:
        images: (B, 3, H, W), the model's input. Its images are independent of each other in eval mode, so the gradient
            of the batch's sum is each image's own.

    Raises:
        UnitError: a gradient that is not finite.
    """
    images = images.detach().requires_grad_(True)
    maps = stage_maps(model, stages, images)
    for number, (stage, found) in enumerate(zip(stages, maps, strict=True)):
        unit = found[:, :, found.shape[2] // 2, found.shape[3] // 2]
        (gradient,) = torch.autograd.grad(unit.relu().sum(), images, retain_graph=number + 1 < len(maps))
        gradient = gradient.float()
        if not bool(torch.isfinite(gradient).all()):
            raise UnitError(f"the gradient of stage {stage.number + 1} is not finite")
        yield GradientMaps(
            magnitude=gradient.square().sum(1).sqrt().cpu(), rectified=gradient.relu().sum(1).cpu()
        )  # fmt: skip


Floats = NDArray[np.float64]


def rings(height: int, width: int, centre: tuple[float, float]) -> tuple[NDArray[np.int64], Floats]:
    """Which square each pixel completes, and the squares' sides.

    Squares are made of whole pixels: around a pixel's centre their sides are 1, 3, 5, ...; around a point midway
    between pixels 2, 4, 6, ... An axis whose centre lies elsewhere is counted from the next half pixel.

    Returns:
        (height, width) numbers of squares, and (squares,) sides in pixels.
    """
    y, x = (np.round(2 * c) / 2 for c in centre)
    rows, columns = np.abs(np.arange(height) - y), np.abs(np.arange(width) - x)
    # |pixel - centre| is the same half-integer or integer for all pixels of an axis; a square's half side covers both
    distance = np.maximum(rows[:, None], columns[None, :])
    sides, number = np.unique(2 * distance + 1, return_inverse=True)
    return number.reshape(height, width).astype(np.int64), sides.astype(np.float64)


def profile(maps: NDArray[np.floating], number: NDArray[np.int64], squares: int) -> Floats:
    """(..., H, W) maps -> (..., squares) mass that each square adds to the one before."""
    flat = np.asarray(maps, dtype=np.float64).reshape(-1, number.size)
    order = np.argsort(number, axis=None, kind="stable")
    starts = np.searchsorted(number.ravel()[order], np.arange(squares))
    sums: Floats = np.add.reduceat(flat[:, order], starts, axis=1)
    return sums.reshape(*maps.shape[:-2], squares)


def sides_holding(mass: Floats, sides: Floats, share: float) -> Floats:
    """(..., squares) masses -> (...) side in pixels of the smallest square that holds `share` of the total.

    NaN where there is no mass at all.
    """
    total = mass.sum(-1, keepdims=True)
    held = np.cumsum(mass, axis=-1)
    # rounding in the sum must not push a share that is met exactly into the next square
    enough = held >= share * total * (1 - 1e-12)
    first = enough.argmax(-1)
    return np.where(total[..., 0] > 0, sides[first], np.nan)


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
            sizes = self._sides(definition, percents, seed=seed)
            for percent, (estimate, drawn) in zip(percents, sizes, strict=True):
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


FILE = "maps.npz"
METRIC: Final = "erf"  # the percentage of the mass is the row's level


class Erf(ImageAnalysis):
    """Effective receptive fields of the models of a request; of a detector, those of its backbone in it."""

    name = "erf"
    takes_detectors = True

    def __init__(
        self, config: ErfConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.config = config

    @property
    def definition(self) -> str:
        return self.config.definitions[0]

    def headline(self, unit: Unit) -> str | None:
        return METRIC

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        config = self.config
        for model in self.request.models:
            stages = None if config.stages is None else list(config.stages)
            if stages is not None:
                self._require_stages(model, stages)
            # the metric's name and the centre's rule: rows from before them are measured again
            rules = {"metric": METRIC, "centre": "reachable"}
            conditions: dict[str, Any] = {"stages": stages, "percents": list(config.percents), **rules}
            unit = self.unit("maps", model, {**conditions, "definitions": list(config.definitions)})
            yield unit, self._work_of(unit, model)

    @staticmethod
    def _require_stages(model: str, stages: list[int]) -> None:
        """Refuse stages that the model has not, before anything is written. Raises ConfigError."""
        with contextlib.suppress(UnitError):  # a model without stages fails when its turn comes
            built = meta_model(model)
            chosen_stages(built if ModelName.parse(model).detector is None else body_of(built), stages)

    def loaded_model(self, model: str) -> LoadedModel:
        loaded = super().loaded_model(model)
        is_detector = ModelName.parse(model).detector is not None
        return body_of_detector(loaded, self.request.resolution) if is_detector else loaded

    def _work_of(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            loaded = self.loaded_model(model)
            stages = chosen_stages(loaded.model, self.config.stages)
            locations = located(loaded, stages)
            size = loaded.preprocessing.size
            gathered = [StageMaps(grid, size, len(self.indices)) for grid in locations]
            batches, done = self.pixel_batches(loaded), 0
            self.say(f"gradients of {model}", 0, len(self.indices))
            for batch in batches:
                maps = gradient_maps(loaded.model, stages, loaded.input(batch.images))
                for stage, part in zip(gathered, maps, strict=True):
                    stage.add(part)
                done += len(batch)
                self.say(f"gradients of {model}", done, len(self.indices))
            empty = [str(s.number + 1) for s, g in zip(stages, gathered, strict=True) if not g.mean("magnitude").any()]
            if empty:
                raise UnitError(f"the gradient of stage {', '.join(empty)} is zero on every image")
            rows = self._rows(loaded, stages, gathered, self._kept(unit, stages, gathered))
            notes = {"centre_assumed": [grid.assumed for grid in locations], **self.damage(batches)}
            return Outcome(rows=rows, notes=notes)

        return work

    def _rows(self, loaded: LoadedModel, stages: list[Stage], gathered: list[StageMaps], artifact: str) -> list[Row]:
        rows = []
        for stage, maps in zip(stages, gathered, strict=True):
            for size in maps.sizes(definitions(self.config.definitions), self.config.percents, seed=self.seed):
                columns = {"stage": stage.number, "level": size.percent, "artifact": artifact}
                columns |= {"definition": size.definition.name, "num_images": maps.seen}
                rows.append(self.interval_row(loaded, METRIC, size.interval, **columns))
        return rows

    def _kept(self, unit: Unit, stages: list[Stage], gathered: list[StageMaps]) -> str:
        """Write the mean maps and where their units are; returns the file's place in the store."""
        arrays: dict[str, Any] = {}
        for stage, maps in zip(stages, gathered, strict=True):
            number = stage.number
            arrays[f"magnitude_{number}"] = maps.mean("magnitude").astype(np.float32)
            arrays[f"rectified_{number}"] = maps.mean("rectified").astype(np.float32)
            arrays[f"centre_{number}"] = np.array(maps.grid.centre)
            arrays[f"map_size_{number}"] = np.array(maps.grid.size)
        path = self.store.artifact(unit.key, FILE)
        write_arrays(path, arrays)
        return self.store.place(path)


def located(loaded: LoadedModel, stages: list[Stage]) -> list[Grid]:
    """Where the units of each stage are on the model's input."""
    height, width = loaded.preprocessing.size
    blank = loaded.input(torch.full((1, 3, height, width), 0.5))
    maps, calls = probe(loaded.model, stages, blank)
    return grids((height, width), [(m.shape[2], m.shape[3]) for m in maps], calls)
