"""Classification: cross-entropy, with mixed or smoothed labels as the recipe asks; accuracy on a whole set.

Accuracy is exact for any number of processes: each takes its share, the sums are added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone
from stmbench.data.image_set import ImageSet
from stmbench.data.loading import PixelCache, batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, UnitError
from stmbench.measure.proportions import wilson_interval
from stmbench.tasks.base import Score, Task, TrainingData, in_eval_mode
from stmbench.tasks.classification.data import open_data
from stmbench.tasks.classification.images import TrainingImages, collated, erase, images_of
from stmbench.tasks.colours import change_colours
from stmbench.training.recipe import Recipe
from stmbench.training.settings import TrainingSettings


class Classification(Task):
    """Images with one label each; top-1 accuracy."""

    name = "classification"
    headline = "accuracy"

    @classmethod
    def open_data(cls, settings: TrainingSettings) -> TrainingData[ImageSet]:
        """Both splits. Raises ConfigError or InputError for classes or splits that do not fit."""
        return open_data(settings)

    def build(self) -> nn.Module:
        """See `Task.build`; with the recipe's dropout. Raises ConfigError where the classifier is not known for it."""
        model, rate = super().build(), self.settings.recipe.dropout
        if rate:
            if not hasattr(model, "get_classifier"):
                expected, remedy = "a model with get_classifier(), for dropout", "use --set dropout=0"
                raise ConfigError(expected, self.settings.model, remedy)
            _drop_before(cast(Any, model).get_classifier(), rate)
        return model

    def prepare(self, model: nn.Module) -> None:
        """See `Task.prepare`."""
        settings, recipe = self.settings, self.settings.recipe
        self.preprocessing = Preprocessing.of(model, settings.resolution)
        if isinstance(model, Backbone):
            model.require_size(*self.preprocessing.size)
        self._mixup, self._loss = mixup_of(recipe, self.data.num_classes), loss_of(recipe)
        # a process beyond the last image would have none: images are dealt out one by one
        self._batches = batches(
            self.data.test,
            range(self.group.rank, len(self.data.test), self.group.size),
            self.preprocessing.pixels,
            batch_size=max(32, recipe.batch_size // self.group.size // settings.accumulate),
            workers=settings.workers or 0,
            limit_corrupt=settings.limit_corrupt,
            cache=PixelCache(),  # decoded images are kept while there is room
        )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.preprocessing.size

    def images(self) -> TrainingImages:
        """The chosen images, augmented."""
        data, settings = self.data, self.settings
        return images_of(settings.recipe, self.preprocessing, data.train, data.chosen, settings.seed)

    @property
    def collate(self) -> Callable[[list[Any]], Any]:
        """Some images come as batches."""
        return collated

    def staged(self, inputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) uint8, (B, 5) boxes and (B, 9) changes of colours -> the model's input; (B,) labels."""
        levels, boxes, changes = inputs
        levels = levels.to(self.group.device, non_blocking=True)
        if changes.numel():
            coloured = change_colours(levels / 255, changes.to(self.group.device, non_blocking=True))
            x = self.preprocessing.normalise(coloured)
        else:
            x = self.preprocessing.normalise_levels(levels)
        erase(x, boxes)
        return self.to_device(x), targets.to(self.group.device, non_blocking=True)

    def loss(self, forward: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Of (B, 3, H, W) images and (B,) labels."""
        x, y = inputs, targets
        if self._mixup is not None:
            x, y = self._mixup(x, y)
        with self.arithmetic():
            found: Tensor = self._loss(forward(x), y)
        return found

    def score(self, model: nn.Module, *, final: bool) -> Score:
        """Accuracy and mean cross-entropy of a model, which is in eval mode meanwhile.

        Raises:
            UnitError: more images than allowed could not be read, in all processes together.
        """
        with in_eval_mode(model):
            own = self.group.guarded(lambda: self._sums(model))
        correct, total, count, corrupt = self.group.sum(own).tolist()
        if corrupt > self.settings.limit_corrupt:
            limit = self.settings.limit_corrupt
            raise UnitError(f"more than {limit} images of the test set could not be read (--limit-corrupt)")
        interval = wilson_interval(round(correct), round(count))
        values = {"accuracy": round(correct) / round(count), "test_loss": total / count}
        return Score(values=values, count=round(count), low=interval.low, high=interval.high)

    def _sums(self, model: nn.Module) -> Tensor:
        """(4,) of this process's images: right ones, their losses, all that were read, all that could not be."""
        sums, device = torch.zeros(4, dtype=torch.float64), self.group.device
        with torch.inference_mode(), self.arithmetic():
            for batch in self._batches:
                assert batch.labels is not None
                labels = batch.labels.to(device)
                logits = model(self.preprocessing.normalise(batch.images.to(device)).to(self.dtype)).double()
                right = (logits.argmax(1) == labels).sum().double()
                loss = F.cross_entropy(logits, labels, reduction="sum")
                sums[:2] += torch.stack([right, loss]).cpu()
                sums[2] += len(batch)
        # what the set itself has lost is counted by one process
        sums[3] = sum(item.index is not None or self.group.is_first for item in self._batches.corrupt)
        return sums


def _drop_before(classifier: nn.Module, rate: float) -> None:
    """Dropout of the pooled features, for any model: few have an option for it."""
    drop = nn.Dropout(rate)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (drop.train(module.training)(inputs[0]), *inputs[1:])

    classifier.register_forward_pre_hook(before)


def mixup_of(recipe: Recipe, num_classes: int) -> Mixup | None:
    """Mixup and CutMix, which also smooth the labels; None where the recipe has neither."""
    if not recipe.mixes:
        return None
    return Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        label_smoothing=recipe.label_smoothing,
        num_classes=num_classes,
    )


def loss_of(recipe: Recipe) -> nn.Module:
    """Cross-entropy against mixed targets, or against labels with the recipe's smoothing."""
    if recipe.mixes:
        return SoftTargetCrossEntropy()  # type: ignore[no-untyped-call]
    if not recipe.label_smoothing:
        return nn.CrossEntropyLoss()
    return LabelSmoothingCrossEntropy(recipe.label_smoothing)  # type: ignore[no-untyped-call]
