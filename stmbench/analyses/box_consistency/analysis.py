"""`box_consistency_scale`, `box_consistency_rotation`, `box_consistency_translation`: a unit for each detector."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.box_consistency.images import resampled, scaled, shifted, turned
from stmbench.analyses.box_consistency.options import BoxConfig
from stmbench.analyses.detector_analysis import DetectorAnalysis
from stmbench.analyses.images import ImageRequest, Work
from stmbench.analyses.invariance.analysis import UNMOVED
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Unit
from stmbench.architectures.detectors.base import PATCH, padded, resized_size
from stmbench.errors import UnitError
from stmbench.measure.bootstrap import percentile_interval
from stmbench.measure.detection.average_precision import intervals
from stmbench.measure.detection.results import consistency
from stmbench.measure.statistics import Floats, Interval
from stmbench.tables import Row, Store
from stmbench.tables.files import ArrayFile
from stmbench.tasks.detection.detecting import Detected, Detecting, Look, require_few_corrupt
from stmbench.tasks.detection.task import scored

FILE: Final = "consistency.npz"
NAMES: Final = "box_consistency_"
MARGIN: Final = 64  # pixels beside an image that is shifted, or as many as the largest shift has


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn(ArrayFile):
    """Consistency at (L,) levels, `values` (L,), and in resamples of the (I,) images, `drawn` (L, draws)."""

    images: NDArray[np.int64]
    levels: Floats
    values: Floats
    drawn: Floats

    def interval(self, weights: Floats) -> Interval:
        """Of a sum over levels with (L,) weights."""
        value, drawn = self.summed(weights)
        return percentile_interval(value, drawn, len(self.images), omit_nan=True)

    def summed(self, weights: Floats) -> tuple[float, Floats]:
        """The sum over levels with (L,) weights, and in each resample; what has no weight may have no value."""
        seen = weights != 0
        return float(weights[seen] @ self.values[seen]), np.asarray(weights[seen] @ self.drawn[seen])


class BoxConsistency(DetectorAnalysis):
    """Whether detectors find in transformed images the boxes that they find in images as they are.

    Args:
        control: a model of the request, from which the others' differences are given; None is as for `control_model`.
    """

    def __init__(
        self,
        config: BoxConfig,
        request: ImageRequest,
        store: Store,
        *,
        control: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.name = f"{NAMES}{config.kind}"  # type: ignore[misc]
        super().__init__(request, store, listener=listener)
        self.config, self.levels, self.unmoved = config, config.chosen_levels, UNMOVED[config.kind]
        self._control = self.control_model(control)
        self._labelled = bool(self.images.annotated()[self.indices].any())

    @property
    def definition(self) -> str:
        return f"box_consistency.{self.config.kind}.v1"

    def headline(self, unit: Unit) -> str | None:
        return "box_consistency"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model, unit in self._units().items():
            yield unit, self._work_of(unit, model)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        yield from self.comparison(self._units(), self._control, self._differences)

    def _units(self) -> dict[str, Unit]:
        conditions = {"levels": list(self.levels), "threshold": self.config.threshold}
        return {model: self.unit("boxes", model, conditions) for model in self.request.models}

    def _work_of(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            loaded = self.loaded_detector(model)
            detecting = self.detecting(loaded.preprocessing.size)
            too_small = {level: why for level in self.levels if (why := self._too_small(loaded, level))}
            levels = [level for level in self.levels if level not in too_small]
            reference = self._detected(loaded, detecting, self.unmoved)
            require_few_corrupt(reference.corrupt, self.request.limit_corrupt)
            rows = [
                self.image_row(loaded, "box_consistency", None, kind="summary", level=level, status="skipped",
                               reason=why, condition=self._condition)
                for level, why in too_small.items()
            ]  # fmt: skip
            rows += self._rows(unit, loaded, detecting, levels, reference)
            return Outcome(rows=rows, notes={"num_classes": loaded.num_classes, **self.damage_to(reference)})

        return work

    def _rows(
        self, unit: Unit, loaded: LoadedModel, detecting: Detecting, levels: Sequence[float], reference: Detected
    ) -> Iterator[Row]:
        boxes = sum(item["score"] >= self.config.threshold for item in reference.results)
        if not boxes:
            got = f"none in {len(reference.seen)} images"
            raise UnitError(
                f"expected boxes with a score of at least {self.config.threshold:g}, got {got}; lower --threshold, or "
                "train longer"
            )
        path = self.store.artifact(unit.key, FILE)
        known: dict[str, Any] = {"condition": self._condition, "num_images": len(reference.seen)}
        yield self.image_row(loaded, "ground_truth_boxes", boxes, kind="summary", **known)
        curves: dict[str, list[tuple[float, Floats]]] = {"box_consistency": [], "box_consistency_floor": []}
        for number, level in enumerate(levels):
            found = reference
            if level != self.unmoved:
                found = self._detected(loaded, detecting, level, done=number)
            curves["box_consistency"].append(self._compared(reference, found))
            if self.config.kind == "scale":
                if level != self.unmoved:  # there both are the same pixels
                    found_there = self._detected(loaded, detecting, level, done=number + 0.5, floor=True)
                    curves["box_consistency_floor"].append(self._compared(reference, found_there))
                else:
                    curves["box_consistency_floor"].append(curves["box_consistency"][-1])
                yield self.image_row(
                    loaded, "padding_share", self._padding(loaded, level), kind="summary", level=level, **known
                )
            if self._labelled:
                scores = scored(self.images, found, masks=False)["bbox"]
                ends = intervals(scores, seed=self.seed)["box_ap"]
                if math.isfinite(ends.estimate):
                    yield self.interval_row(loaded, "box_ap", ends, level=level, **known)
        for metric, pairs in curves.items():
            if not pairs:
                continue
            drawn = Drawn(
                images=np.array(reference.seen),
                levels=np.array(levels),
                values=np.array([value for value, _ in pairs]),
                drawn=np.stack([draws for _, draws in pairs]),
            )
            own = dict(known)
            if metric == "box_consistency":
                drawn.write(path)
                own["artifact"] = self.store.place(path)
            for number, level in enumerate(levels):
                yield self.interval_row(loaded, metric, drawn.interval(np.eye(len(levels))[number]), level=level, **own)
            if len(levels) > 1:
                area = drawn.interval(area_weights(levels))
                yield self.interval_row(loaded, f"{metric}_auc", area, level=levels[-1], **own)

    def _compared(self, reference: Detected, found: Detected) -> tuple[float, Floats]:
        ids = [self.images.image_id(index) for index in reference.seen]
        compared = consistency(reference.results, found.results, ids, self.config.threshold)
        return compared.value, compared.drawn(seed=self.seed)

    def _detected(
        self, loaded: LoadedModel, detecting: Detecting, level: float, *, done: float = 0.0, floor: bool = False
    ) -> Detected:
        """What is found at one level, with the boxes in the original image."""
        own, text, count = loaded.preprocessing.size, f"boxes of {loaded.name}", len(self.indices)
        sides = self._sides(loaded, level)
        total = count * (len(self.levels) + 1)
        look: Look
        match self.config.kind:
            case "scale" if floor:
                look = resampled(loaded.model, sides, own)
            case "scale":
                look, detecting = scaled(loaded.model, sides), detecting.at(sides)
            case "rotation":
                look = turned(loaded.model, round(level) // 90)
            case "translation":
                margin = max(MARGIN, round(max(self.levels)))
                look = shifted(loaded.model, own, round(level), margin=margin, seed=self.seed)
        before = 0.0 if level == self.unmoved else 1 + done
        return detecting.detect(loaded.model, lambda seen: self.say(text, before * count + seen, total), look)

    def _sides(self, loaded: LoadedModel, level: float) -> tuple[int, int]:
        """(shorter, longer) sides that the detector resizes to."""
        shorter, longer = loaded.preprocessing.size
        factor = level if self.config.kind == "scale" else 1.0
        return round(factor * shorter), round(factor * longer)

    def _too_small(self, loaded: LoadedModel, level: float) -> str | None:
        """Why images of a level cannot be shown; None where they can."""
        side = self._sides(loaded, level)[0]
        return f"a shorter side of {side} pixels is below the network's stride, {PATCH}" if side < PATCH else None

    def _padding(self, loaded: LoadedModel, level: float) -> float:
        """The mean over images of the part of the detector's input that is padding."""
        sides, shares = self._sides(loaded, level), []
        for index in self.indices:
            size = resized_size(self.images.size(index), sides)
            shares.append(1 - math.prod(size) / math.prod(padded(*size)))
        return math.fsum(shares) / len(shares)

    @property
    def _condition(self) -> str:
        return f"threshold={self.config.threshold:g}"

    def _differences(self, units: Mapping[str, Unit]) -> Iterator[Row]:
        """Of each model to the control at each level that both have, and of the areas, if both saw the same images."""
        read = {model: Drawn.read(self.store.artifact(unit.key, FILE)) for model, unit in units.items()}
        assert self._control is not None
        base = read[self._control]
        for model, head in read.items():
            if model == self._control or not np.array_equal(head.images, base.images):
                continue
            count = len(head.images)
            wanted = [
                ("", float(level), (head.levels == level).astype(float), (base.levels == level).astype(float))
                for level in np.intersect1d(head.levels, base.levels)
            ]
            if len(head.levels) > 1 and np.array_equal(head.levels, base.levels):
                area = area_weights(head.levels)
                wanted.append(("_auc", float(head.levels[-1]), area, area))
            for suffix, level, one, other in wanted:
                (mine, drawn), (theirs, drawn_there) = head.summed(one), base.summed(other)
                value = mine - theirs
                ends = percentile_interval(value, drawn - drawn_there, count, omit_nan=True)
                yield self.row(
                    metric=f"box_consistency{suffix}_difference",
                    value=value,
                    model=model,
                    baseline=self._control,
                    kind="summary",
                    level=level,
                    condition=self._condition,
                    weights=units[model].weights[0],
                    dataset=self.images.column,
                    split=self.images.split,
                    num_images=count,
                    num_samples=count,
                    dtype=self.request.dtype,
                    resolution=self.store.metadata(units[model].key).get("resolution"),
                    **{"ci_low": ends.low, "ci_high": ends.high} if count > 1 else {},
                )


def area_weights(levels: Sequence[float] | Floats) -> Floats:
    """(L,) weights of the mean over the range of levels, by trapezoids; they sum to 1."""
    steps = np.diff(np.asarray(levels)) / (levels[-1] - levels[0])
    weights = np.zeros(len(levels))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return weights
