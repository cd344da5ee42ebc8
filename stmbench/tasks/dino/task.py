"""Self-distillation as a task: crops, loss, schedules of teacher and weight decay, accuracy of neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone
from stmbench.architectures.feature_extractor import as_feature_extractor, pooled
from stmbench.data.image_selection import select_images
from stmbench.data.image_set import ImageSet
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError
from stmbench.measure.proportions import wilson_interval
from stmbench.tasks.base import Score, Task, TrainingData, in_eval_mode
from stmbench.tasks.classification.data import open_data, open_split
from stmbench.tasks.classification.images import TrainingImages
from stmbench.tasks.colours import change_colours
from stmbench.tasks.dino.crops import MultiCrop
from stmbench.tasks.dino.networks import SelfDistillation
from stmbench.tasks.dino.objective import collapse, cosine, distil, limit_each, teacher_temperature
from stmbench.tasks.dino.validation import FeatureValidation, is_labelled
from stmbench.training.dino_recipe import DinoRecipe
from stmbench.training.distributed import ProcessGroup
from stmbench.training.settings import TrainingSettings

BY_LABELS: Final = "knn_accuracy"
BY_IMAGES: Final = "instance_accuracy"


class SelfDistillationTask(Task):
    """DINO; the accuracy of the teacher's nearest neighbours, or of images among themselves without labels."""

    name = "dino"
    headline = BY_LABELS

    def __init__(self, settings: TrainingSettings, data: TrainingData[Any], group: ProcessGroup) -> None:
        super().__init__(settings, data, group)
        assert isinstance(settings.recipe, DinoRecipe)
        self.recipe: DinoRecipe = settings.recipe
        if not is_labelled(data):
            self.headline = BY_IMAGES  # type: ignore[misc]

    @classmethod
    def open_data(cls, settings: TrainingSettings) -> TrainingData[ImageSet]:
        """Both splits; without labels too. Raises ConfigError or InputError for splits that do not fit."""
        train, test = open_split(settings, settings.train_split), open_split(settings, settings.test_split)
        if train.labels() is not None and test.labels() is not None:
            return open_data(settings)
        count = round(len(train) * settings.data_fraction)
        chosen = select_images(train, None if count == len(train) else count, settings.seed)
        return TrainingData(train=train, test=test, chosen=tuple(chosen), num_classes=0)

    @property
    def options(self) -> dict[str, Any]:
        """The student's drop path: there are no classes."""
        return {name: value for name, value in super().options.items() if name != "num_classes"}

    def build(self) -> nn.Module:
        """Student and teacher with weights of the seed. Raises ConfigError for a model without pooled features."""
        backbone = as_feature_extractor(super().build())
        size = Preprocessing.of(backbone, self.settings.resolution).size
        self._require_sizes(backbone, size)
        with torch.no_grad(), in_eval_mode(backbone):
            width = pooled(backbone, torch.zeros(1, 3, *size)).shape[1]
        return SelfDistillation(backbone, width, self.recipe).train()

    def _require_sizes(self, backbone: nn.Module, size: tuple[int, int]) -> None:
        """Raise ConfigError for local crops larger than the global ones, or a size that the network refuses."""
        recipe = self.recipe
        if recipe.local_crops and recipe.local_size > min(size):
            expected = f"local crops of at most {min(size)} pixels, the side of the global ones"
            remedy = "use --set local_size=N, --recipe dino_digits, or a larger --resolution"
            raise ConfigError(expected, str(recipe.local_size), remedy)
        if not isinstance(backbone, Backbone):
            self._require_passes(backbone, size)
            return
        backbone.require_size(*size)
        if recipe.local_crops:
            try:
                backbone.require_size(recipe.local_size, recipe.local_size)
            except ConfigError as error:
                remedy = "use --set local_size=N, or --set local_crops=0 for global crops alone"
                raise ConfigError(error.expected, f"local crops of {error.got}", remedy) from error

    def _require_passes(self, backbone: nn.Module, size: tuple[int, int]) -> None:
        """Raise ConfigError for a network that says its sizes by refusing images alone, and refuses the crops."""
        name, side = self.settings.model, self.recipe.local_size
        dynamic = f"try {name.removesuffix(']')}{',' if name.endswith(']') else '['}dynamic_img_size=True]"
        asked = {"images": (size, f"{dynamic}, or another --resolution")}
        if self.recipe.local_crops:
            asked["local crops"] = (side, side), f"{dynamic}, --set local_size=N, or --set local_crops=0"
        for what, ((height, width), remedy) in asked.items():
            try:
                with torch.no_grad(), in_eval_mode(backbone):
                    pooled(backbone, torch.zeros(1, 3, height, width))
            except Exception as error:
                raise ConfigError(f"a network that takes {what} of {height}x{width}", str(error), remedy) from error

    def prepare(self, model: nn.Module) -> None:
        """See `Task.prepare`."""
        backbone = cast(SelfDistillation, model).student.backbone
        self.preprocessing = Preprocessing.of(backbone, self.settings.resolution)
        self._validation = FeatureValidation(self.settings, self.recipe, self.data, self.preprocessing, self.group)
        self._model = cast(SelfDistillation, model)
        self._pending = list[Tensor]()  # of this step: sums of the teacher's logits, its entropy and divergence

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the global crops."""
        return self.preprocessing.size

    def images(self) -> TrainingImages:
        """The chosen images as crops."""
        data, crops = self.data, MultiCrop(self.recipe, self.size)
        return TrainingImages(data.train, data.chosen, crops, self.settings.seed)

    def staged(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Crops and changes on the device; the targets are not used."""
        return [part.to(self.group.device, non_blocking=True) for part in inputs], targets

    def loss(self, forward: nn.Module, inputs: Any, targets: Any) -> Tensor:
        """Of crops (B, 2, 3, H, W), (B, L, 3, h, h) and their changes (B, 2 + L, 9); the targets are not used."""
        wide, near, changes = inputs
        crops = [self._crops(wide, changes[:, : wide.shape[1]])]
        if near.shape[1]:
            crops.append(self._crops(near, changes[:, wide.shape[1] :]))
        with self.arithmetic():
            student, teacher = forward(crops)
        found = distil(
            student,
            teacher,
            self._model.centre,
            student_temperature=self.recipe.student_temperature,
            teacher_temperature=self._temperature,
        )
        seen = teacher.mean((0, 1), dtype=torch.promote_types(teacher.dtype, torch.float32))
        self._pending.append(torch.cat([seen.double(), torch.stack([found.entropy, found.divergence]).double()]))
        return found.loss

    def _crops(self, pixels: Tensor, changes: Tensor) -> Tensor:
        """(B, V, 3, H, W) uint8 and (B, V, 9) -> (V B, 3, H, W), the network's input, crop by crop."""
        images = pixels.transpose(0, 1).flatten(0, 1).to(self.dtype) / 255
        changed = change_colours(images, changes.transpose(0, 1).flatten(0, 1))
        return self.to_device(self.preprocessing.normalise(changed))

    def before_step(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """The weight decay and the teacher's temperature of the step."""
        recipe, total = self.recipe, self._steps_of_run
        optimizer.param_groups[0]["weight_decay"] = cosine(recipe.weight_decay, recipe.weight_decay_end, step, total)
        self._temperature = teacher_temperature(recipe, step // self._steps_of_epoch)

    def limit_gradients(self, model: nn.Module, step: int) -> None:
        """Clip as the recipe says; the last layer has no gradient while it is frozen."""
        student, recipe = self._model.student, self.recipe
        if recipe.clip_grad is not None and recipe.clip_rule == "each":
            limit_each([p.grad for p in self._model.of_student if p.grad is not None], recipe.clip_grad)
        else:
            super().limit_gradients(student, step)
        if step < recipe.freeze_last_layer * self._steps_of_epoch:
            for parameter in student.head.last_layer.parameters():
                parameter.grad = None

    def after_step(self, model: nn.Module, step: int) -> None:
        """Move teacher and centre, and add to the watch; all processes alike."""
        own, recipe = self._model, self.recipe
        own.follow(cosine(recipe.teacher_momentum, 1.0, step, self._steps_of_run))
        seen = self.group.mean(torch.stack(self._pending).mean(0)).to(own.centre)
        self._pending.clear()
        own.centre.lerp_(seen[:-2], 1 - recipe.centre_momentum)
        own.watch += torch.cat([seen[-2:], seen.new_ones(1)])

    @property
    def _steps_of_epoch(self) -> int:
        return len(self.data.chosen) // self.recipe.batch_size

    @property
    def _steps_of_run(self) -> int:
        return self._steps_of_epoch * self.recipe.epochs

    def trained(self, model: nn.Module) -> nn.Module:
        """The teacher's backbone."""
        return cast(SelfDistillation, model).teacher.backbone

    def score(self, model: nn.Module, *, final: bool) -> Score:
        """The accuracy of neighbours of the teacher's features, and the epoch's mean entropy and divergence.

        Raises:
            UnitError: features that are not finite, or too many images that could not be read.
        """
        with torch.inference_mode(), in_eval_mode(model), self.arithmetic():
            right = self._validation.correct(model)
        interval = wilson_interval(int(right.sum()), len(right))
        values = {self.headline: float(right.double().mean())}
        entropy, divergence, steps = self._model.watch.tolist()
        if steps:
            values |= {"teacher_entropy": entropy / steps, "teacher_divergence": divergence / steps}
        self._model.watch.zero_()
        return Score(values=values, count=len(right), low=interval.low, high=interval.high)

    def warnings(self, scores: Mapping[str, float]) -> list[str]:
        """Whether the teacher's answers no longer depend on the image."""
        if "teacher_entropy" not in scores:
            return []
        what = collapse(scores["teacher_entropy"], scores["teacher_divergence"], self.recipe.out_dim)
        return [] if what is None else [f"{self.settings.model}: the teacher has collapsed, {what}"]
