"""The base of analyses that show images with objects to detectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from stmbench.analyses.images import ImageAnalysis
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.detectors.base import DETECTORS, PATCH
from stmbench.architectures.detectors.trunk import body_of
from stmbench.data.detection.detection_set import DetectionSet
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError
from stmbench.measure.backend_settings import AUTOCAST
from stmbench.tasks.detection.data import require_masks
from stmbench.tasks.detection.detecting import Detected, Detecting, require_few_corrupt


class DetectorAnalysis(ImageAnalysis):
    """An analysis whose units are one detector and the chosen images of one set."""

    images: DetectionSet
    takes_detectors = True
    wants_masks = False  # of the set, for detectors of masks

    def open_images(self) -> DetectionSet:
        """The set. Raises ConfigError for a model that is no detector, masks that it lacks, or classes that differ."""
        request = self.request
        for name in request.models:
            if ModelName.parse(name).detector is None:
                remedy = f"write maskrcnn:{name}, or another of {', '.join(DETECTORS.names())} before the colon"
                raise ConfigError(f"a detector, for {self.name}", name, remedy)
        for option, value in (("--classes", request.classes), ("--labels", request.labels)):
            if value is not None:
                raise ConfigError(f"no {option} for a detector", str(value), "leave it out")
        images = open_detection_set(
            request.dataset, split=request.split, seed=request.seed, limit_corrupt=request.limit_corrupt
        )
        if self.wants_masks:
            for name in request.models:
                require_masks(name, images)
        return images

    def classes_of_untrained(self) -> int:
        """Those of the set."""
        return len(self.images.categories)

    def loaded_detector(self, model: str) -> LoadedModel:
        """The detector, which has as many classes as the set. Raises ConfigError."""
        loaded = self.loaded_model(model)
        if loaded.num_classes != len(self.images.categories):
            got = f"{loaded.num_classes} in {model}"
            expected = f"a detector of the {len(self.images.categories)} classes of {self.images.name}"
            raise ConfigError(expected, got, "give weights that were trained on this set, or another --dataset")
        return loaded

    def detecting(self, size: tuple[int, int], indices: Sequence[int] | None = None) -> Detecting:
        """What shows the chosen images to detectors that resize to (shorter, longer) sides."""
        request = self.request
        return Detecting(
            self.images,
            self.indices if indices is None else indices,
            size,
            device=torch.device(request.device),
            autocast=AUTOCAST.get(request.dtype),  # weights stay in float32
            batch_size=request.batch_size,
            workers=request.workers,
            limit_corrupt=request.limit_corrupt,
        )

    def detect(self, loaded: LoadedModel, text: str) -> Detected:
        """Everything that a detector finds, with the progress told. Raises UnitError for too many corrupt images."""
        total = len(self.indices)
        self.say(text, 0, total)
        found = self.detecting(loaded.preprocessing.size).detect(loaded.model, lambda done: self.say(text, done, total))
        require_few_corrupt(found.corrupt, self.request.limit_corrupt)
        return found

    def damage_to(self, found: Detected) -> dict[str, Any]:
        """What could not be read: metadata, and a warning that the run's end shows."""
        lost = [*self.images.damaged, *found.corrupt]
        if not lost:
            return {}
        text = f"{len(lost)} corrupt in {self.images.name}: {'; '.join(lost[:3])}{', ...' if len(lost) > 3 else ''}"
        return {
            "corrupt": lost,
            "warnings": [text],
            "disturbances": [{"kind": "corrupt", "amount": float(len(lost)), "text": text}],
        }


def body_of_detector(loaded: LoadedModel, resolution: tuple[int, int] | None) -> LoadedModel:
    """What a detector makes its maps with, for images of (H, W); None: a square of the detector's shorter side, to the
    nearest multiple of 32."""
    body = body_of(loaded.model)
    side = PATCH * max(1, round(loaded.preprocessing.size[0] / PATCH))
    preprocessing = Preprocessing.of(body.trunk, resolution or side)
    return dataclasses.replace(loaded, model=body.to(dtype=loaded.dtype), preprocessing=preprocessing)
