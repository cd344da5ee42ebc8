"""`detection`: COCO's average precision of boxes and masks. docs/detection.md has the definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.detector_analysis import DetectorAnalysis
from stmbench.analyses.images import ImageRequest, Work
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Unit
from stmbench.errors import ConfigError
from stmbench.measure.detection.average_precision import RECALLS, ApScores, difference, intervals
from stmbench.measure.detection.matching import Kind
from stmbench.measure.detection.results import read_detections, write_detections
from stmbench.tables import Row, Store
from stmbench.tables.files import replacing
from stmbench.tasks.detection.detecting import Detected
from stmbench.tasks.detection.task import scored

FILE: Final = "detections.json"
EXAMPLES: Final = "examples.npz"
SHOWN_SCORE: Final = 0.5  # of detections in the examples
LARGEST: Final = 320  # pixels of the longer side of an example
CURVES: Final = {"50": 0.5, "75": 0.75}  # overlap of the curves that are kept, as the rows' level


class DetectionEvaluation(DetectorAnalysis):
    """COCO's scores of each detector, and its detections as COCO's results beside its part.

    Args:
        examples: images that are kept with what is detected in them, for pictures.
        control: a model of the request; the average precision of every other one is also given minus this one's, with
            an interval over the images that both have seen.

    Raises:
        ConfigError: a model that is no detector, or a control that is not among the models.
    """

    name = "detection"
    wants_masks = True

    def __init__(
        self,
        request: ImageRequest,
        store: Store,
        *,
        examples: int = 8,
        control: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(request, store, listener=listener)
        if control is not None and control not in request.models:
            raise ConfigError("a control among the models", repr(control), "add it to --models")
        if not self.images.annotated()[self.indices].any():
            got = f"none in {len(self.indices)} images of {self.images.name}"
            raise ConfigError("images with objects", got, "raise --num-images, or change --split")
        self.examples, self.control = examples, control

    @property
    def definition(self) -> str:
        return "detection.coco.v1"

    def headline(self, unit: Unit) -> str | None:
        return "box_ap"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model in self.request.models:
            unit = self.unit("detections", model)
            yield unit, self._work_of(unit, model)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        units = {model: self.unit("detections", model) for model in self.request.models}
        yield from self.comparison(units, self.control, lambda done: self._differences([*done.values()]))

    def _work_of(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            loaded = self.loaded_detector(model)
            found = self.detect(loaded, f"detecting with {model}")
            scores = scored(self.images, found, masks=self._has_masks(loaded))
            rows = [
                *(row for one in scores.values() for row in self._rows(loaded, one, found)),
                *self._kept(unit, loaded, found),
            ]
            return Outcome(rows=rows, notes={"num_classes": loaded.num_classes, **self.damage_to(found)})

        return work

    def _has_masks(self, loaded: LoadedModel) -> bool:
        return bool(loaded.model.has_masks)

    def _rows(self, loaded: LoadedModel, scores: ApScores, found: Detected) -> Iterator[Row]:
        """Scores, those of each class, and curves of precision over recall (the rows' level is the recall)."""
        ends, seen = intervals(scores, seed=self.seed), len(found.seen)
        prefix = "box" if scores.kind == "bbox" else "mask"
        for name, value in scores.metrics.items():
            if name in ends:
                yield self.interval_row(loaded, name, ends[name], num_images=seen)
            elif math.isfinite(value):
                yield self.image_row(loaded, name, value, kind="summary", num_images=seen)
        for category, value in scores.by_class.items():
            if math.isfinite(value):
                yield self.image_row(loaded, f"{prefix}_ap", value, num_images=seen, condition=f"class={category}")
        for name, overlap in CURVES.items():
            for recall, precision in zip(RECALLS, scores.curves[name], strict=True):
                if math.isfinite(precision):
                    where = {"level": float(recall), "condition": f"overlap={overlap:g}"}
                    yield self.image_row(loaded, f"{prefix}_precision", float(precision), num_images=seen, **where)
        if prefix == "box":
            yield self.image_row(loaded, "objects", scores.objects, num_images=seen)

    def _kept(self, unit: Unit, loaded: LoadedModel, found: Detected) -> Iterator[Row]:
        path, seen = self.store.artifact(unit.key, FILE), len(found.seen)
        write_detections(path, found.results)
        place = self.store.place(path)
        yield self.image_row(loaded, "detections", len(found.results), num_images=seen, artifact=place)
        chosen = found.seen[: self.examples]
        if chosen:
            path = self.store.artifact(unit.key, EXAMPLES)
            write_examples(path, self._examples(loaded, chosen))
            yield self.image_row(loaded, "examples", len(chosen), num_images=seen, artifact=self.store.place(path))

    def _examples(self, loaded: LoadedModel, chosen: list[int]) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays of the images, number by number: pixels, true and detected boxes, labels, scores, masks."""
        arrays: dict[str, np.ndarray[Any, Any]] = {"classes": np.array(self.images.categories)}
        for item in self.detecting(loaded.preprocessing.size, chosen).outputs(loaded.model):
            if isinstance(item, str):
                continue
            index, image, output = item
            number, objects = chosen.index(index), self.images.objects(index)
            scale = min(1.0, LARGEST / max(image.shape[-2:]))
            sure = output["scores"] >= SHOWN_SCORE
            own: dict[str, Any] = {
                "image": (_smaller(image[None], scale)[0] * 255).round().to(torch.uint8).permute(1, 2, 0),
                "true_boxes": torch.from_numpy(objects.boxes) * scale,
                "true_labels": torch.from_numpy(objects.labels),
                "boxes": output["boxes"][sure].float() * scale,
                "labels": output["labels"][sure],
                "scores": output["scores"][sure].float(),
                "title": np.array(self.images.title(index)),
            }
            if "masks" in output:
                own["masks"] = _smaller(output["masks"][sure].float(), scale)[:, 0] > SHOWN_SCORE
            for name, value in own.items():
                arrays[f"{number}.{name}"] = value.cpu().numpy() if isinstance(value, Tensor) else value
        return arrays

    def _differences(self, units: list[Unit]) -> list[Row]:
        """Average precision of each model minus the control's, on the images that both could read."""
        assert self.control is not None
        known = {unit.models[0]: read_detections(self.store.artifact(unit.key, FILE)) for unit in units}
        rows = []
        for unit in units:
            (model,) = unit.models
            if model == self.control:
                continue
            names: list[Kind] = ["bbox", "segm"]
            kinds = [kind for kind in names if kind == "bbox" or self._both_have_masks(known, model)]
            for kind in kinds:
                sides = [self._scored(known[name], kind) for name in (self.control, model)]
                for name, effect in difference(*sides, seed=self.seed).items():
                    low, high = effect.interval
                    rows.append(
                        self.row(
                            metric=f"{name}_difference",
                            value=effect.estimate,
                            model=model,
                            baseline=self.control,
                            kind="summary",
                            weights=unit.weights[0],
                            dataset=self.images.column,
                            split=self.images.split,
                            num_images=effect.count,
                            num_samples=effect.count,
                            dtype=self.request.dtype,
                            ci_low=low,
                            ci_high=high,
                        )
                    )
        return rows

    def _both_have_masks(self, known: dict[str, list[dict[str, Any]]], model: str) -> bool:
        return all(any("segmentation" in item for item in known[name]) for name in (model, str(self.control)))

    def _scored(self, results: list[dict[str, Any]], kind: Kind) -> ApScores:
        found = Detected(results=results, seen=list(self.indices))
        return scored(self.images, found, masks=kind == "segm")[kind]


def write_examples(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays by name, compressed, at once. Raises OutputError."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _smaller(images: Tensor, scale: float) -> Tensor:
    """(B, C, H, W) float, made smaller where scale is below 1."""
    if scale == 1 or not len(images):
        return images
    found: Tensor = torch.nn.functional.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)
    return found
