"""Detection: the detector's own losses, added up; average precision on a whole set.

Each process detects in its share of the images; the first images' results and all others are judged together, so AP is
exact for any number of processes.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from stmbench.architectures.detectors.base import side_options, sides_of
from stmbench.checkpoints.backbones import load_backbone
from stmbench.data.detection.batches import AlikePlaces, DetectionSamples, collated
from stmbench.data.detection.detection_set import DetectionSet
from stmbench.data.detection.transforms import DetectionTransform
from stmbench.errors import ConfigError
from stmbench.measure.detection.average_precision import ApScores, intervals, score
from stmbench.measure.detection.matching import Kind
from stmbench.tasks.base import Score, Task, TrainingData
from stmbench.tasks.detection.data import open_data
from stmbench.tasks.detection.detecting import Detected, Detecting, require_few_corrupt
from stmbench.training.settings import TrainingSettings

EACH_EPOCH: Final = ("ap", "ap50", "ap75")
CLASSIFYING: Final = (  # what a recipe has for labels of whole images
    *("label_smoothing", "mixup", "cutmix", "auto_augment", "color_jitter"),
    *("random_erasing", "crop_scale", "crop_pixels", "dropout"),
)


class Detection(Task):
    """Boxes and masks; COCO's average precision."""

    name = "detection"
    headline = "box_ap"
    same_graph = False  # without an object in any image, no mask is predicted

    @classmethod
    def open_data(cls, settings: TrainingSettings) -> TrainingData[DetectionSet]:
        """Both splits. Raises ConfigError or InputError for what does not fit; of a recipe for whole images too."""
        for name in CLASSIFYING:
            if getattr(settings.recipe, name):
                got, remedy = f"{name} in the recipe", "use --recipe detection_small or detection_stm"
                raise ConfigError("a recipe for a detector", got, remedy)
        return open_data(settings)

    @property
    def options(self) -> dict[str, Any]:
        """Those of the model that the run sets: classes, drop path and size of images."""
        found, resolution = super().options, self.settings.resolution
        if resolution is not None:
            found |= side_options(resolution)
        return found

    def build(self) -> nn.Module:
        """See `Task.build`; with weights of a classification model in the trunk where they are given."""
        model, settings = super().build(), self.settings
        if settings.backbone is not None:
            load_backbone(model, settings.model, settings.backbone)
        return model

    def prepare(self, model: nn.Module) -> None:
        """See `Task.prepare`."""
        settings, transform = self.settings, cast(Any, model).transform
        self.has_masks = bool(cast(Any, model).has_masks)
        self._size = sides_of(model)
        if (sides := settings.recipe.shorter_sides) is not None:
            low, high = (round(side) for side in sides)
            transform.min_size = (*range(low, high + 1), self._size[0])  # an evaluation takes the last one
        share = range(self.group.rank, len(self.data.test), self.group.size)
        self._detecting = Detecting(
            self.data.test,
            share,
            self._size,
            device=self.group.device,
            dtype=self.dtype,
            autocast=self.autocast,
            batch_size=max(1, settings.recipe.batch_size // self.group.size // settings.accumulate),
            workers=settings.workers or 0,
            limit_corrupt=settings.limit_corrupt,
        )

    @property
    def size(self) -> tuple[int, int]:
        """(shorter, longer) side of the images."""
        return self._size

    def images(self) -> DetectionSamples:
        """The chosen images, mirrored at random."""
        data, settings = self.data, self.settings
        transform = DetectionTransform(flip=settings.recipe.hflip)
        return DetectionSamples(data.train, data.chosen, transform, masks=self.has_masks, seed=settings.seed)

    def places(self, images: Any) -> AlikePlaces:
        """The order of the images, those of like orientation in a step."""
        settings, group = self.settings, self.group
        batch = settings.recipe.batch_size
        return AlikePlaces(images, batch=batch, processes=group.size, rank=group.rank, seed=settings.seed)

    @property
    def collate(self) -> Any:
        """Images of several sizes make a list."""
        return collated

    def compiled(self, model: nn.Module) -> nn.Module:
        """The model with its backbone compiled: what follows has another shape for every image."""
        cast(Any, getattr(model, "module", model)).backbone.compile()
        return model

    def staged(self, inputs: list[Tensor], targets: list[dict[str, Any]]) -> tuple[Any, Any]:
        """Images and targets on the device."""
        device = self.group.device
        images = [image.to(device, self.dtype, non_blocking=True) for image in inputs]
        return images, [
            {name: _moved(value, device, self.dtype) for name, value in target.items()} for target in targets
        ]

    def loss(self, forward: nn.Module, inputs: list[Tensor], targets: list[dict[str, Any]]) -> Tensor:
        """The sum of the detector's losses."""
        with self.arithmetic():
            losses: dict[str, Tensor] = forward(inputs, targets)
        return torch.stack([value.float() if self.autocast else value for value in losses.values()]).sum()

    def score(self, model: nn.Module, *, final: bool) -> Score:
        """Average precision of boxes, and of masks.

        Raises:
            UnitError: more images than allowed could not be read, or detections that are not finite.
        """
        own = self.group.guarded(lambda: self._detecting.detect(model))
        parts = self.group.gather(own)
        place = {self.data.test.image_id(index): index for index in range(len(self.data.test))}
        results = [result for part in parts for result in part.results]
        every = Detected(
            results=sorted(results, key=lambda result: place[result["image_id"]]),  # as one process has them
            seen=sorted(index for part in parts for index in part.seen),
            corrupt=[reason for part in parts for reason in part.corrupt],
        )
        require_few_corrupt(every.corrupt, self.settings.limit_corrupt)
        scores = scored(self.data.test, every, masks=self.has_masks)
        values = {
            name: value
            for found in scores.values()
            for name, value in found.metrics.items()
            if name.partition("_")[2] in EACH_EPOCH and math.isfinite(value)
        }
        interval = intervals(scores["bbox"], seed=self.settings.seed)[self.headline] if final else None
        ends = {} if interval is None else {"low": interval.low, "high": interval.high}
        return Score(values=values, count=len(every.seen), **ends)


def scored(images: DetectionSet, found: Detected, *, masks: bool) -> dict[Kind, ApScores]:
    """COCO's scores of what was found in the images that could be read: of boxes, and of masks."""
    truth = images.truth(found.seen, masks=masks)
    kinds: tuple[Kind, ...] = ("bbox", "segm") if masks else ("bbox",)
    return {kind: score(truth, found.results, kind=kind) for kind in kinds}


def _moved(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(device, dtype if value.is_floating_point() else value.dtype, non_blocking=True)
