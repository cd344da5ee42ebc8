"""The recipe of self-distillation (DINO, Caron et al. 2021), and its presets.

dino                the authors' defaults, made for vision transformers at 224 pixels
dino_hierarchical   EsViT's for four stages (Li et al. 2022, views alone): a warmer teacher, a free last layer
dino_conv           the authors' for convolutional networks: SGD, larger crops, constant weight decay
dino_digits, dino_shapes   ours, for embedded sets at 32 pixels on a CPU
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from stmbench.errors import ConfigError, require
from stmbench.training.recipe import REMEDY, Recipe

UNUSED: Final = (  # what a recipe has for labels, and an average of weights beside the teacher
    *("label_smoothing", "mixup", "cutmix", "auto_augment", "random_erasing", "crop_pixels", "dropout", "ema"),
    *("milestones", "shorter_sides"),
)
GLOBAL_CROPS: Final = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DinoRecipe(Recipe):
    """Two global crops, which student and teacher see, and `local_crops` smaller ones for the student.

    `crop_scale` and `local_scale` are shares of an image's area, `local_size` the side of local crops in pixels. `blur`
    has the probability for the first and the second global and for local crops. `clip_grad` is the largest norm of each
    parameter's gradient, or with `clip_rule` 'all' of all together. The last layer is frozen for `freeze_last_layer`
    epochs. Momentum of the teacher and weight decay follow a cosine over the run, the teacher's temperature a line over
    `teacher_warmup_epochs`.
    """

    task: ClassVar[str | None] = "dino"

    epochs: int = 100
    batch_size: int = 512
    lr: float = 5e-4
    lr_batch: int = 256
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    clip_grad: float | None = 3.0
    clip_rule: Literal["each", "all"] = "each"
    warmup_epochs: float = 10
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    auto_augment: str | None = None
    random_erasing: float = 0.0
    ema: float | None = None
    drop_path: float | None = 0.1  # of the student
    crop_scale: tuple[float, float] | None = (0.4, 1.0)
    local_crops: int = 8
    local_size: int = 96
    local_scale: tuple[float, float] = (0.05, 0.4)
    jitter: float = 0.8  # probability of a change of colours by up to `color_jitter`, half of it in saturation,
    grey: float = 0.2  # a quarter in hue; and of grey
    blur: tuple[float, float, float] = (1.0, 0.1, 0.5)
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels
    solarise: float = 0.2  # probability, of the second global crop
    out_dim: int = 65536
    hidden_dim: int = 2048
    bottleneck_dim: int = 256
    head_layers: int = 3
    head_norm: bool = False  # BatchNorm between the head's layers
    norm_last_layer: bool = True
    freeze_last_layer: float = 1  # epochs
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    teacher_temperature_start: float = 0.04
    teacher_warmup_epochs: float = 0
    teacher_momentum: float = 0.996
    centre_momentum: float = 0.9
    knn_k: int = 20  # of the accuracy after each epoch
    knn_images: int = 50_000  # training images that it is measured with, at most

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in UNUSED:
            require(not getattr(self, name), f"no {name} in a recipe of self-distillation", getattr(self, name), REMEDY)
        for name in ("local_size", "out_dim", "hidden_dim", "bottleneck_dim", "head_layers", "knn_k", "knn_images"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name), REMEDY)
        for name in ("weight_decay_end", "local_crops", "freeze_last_layer", "teacher_warmup_epochs"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name), REMEDY)
        for name in ("student_temperature", "teacher_temperature", "teacher_temperature_start"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name), REMEDY)
        for name in ("jitter", "grey", "solarise", "teacher_momentum", "centre_momentum"):
            require(0 <= getattr(self, name) <= 1, f"{name} from 0 to 1", getattr(self, name), REMEDY)
        require(all(0 <= share <= 1 for share in self.blur), "three probabilities of blur", self.blur, REMEDY)
        low, high = self.blur_sigma
        require(0 < low <= high, "blur_sigma with 0 < low <= high", self.blur_sigma, REMEDY)
        low, high = self.local_scale
        require(0 < low <= high <= 1, "local_scale with 0 < low <= high <= 1", self.local_scale, REMEDY)
        require(self.crop_scale is not None, "a crop_scale", "null", REMEDY)
        require(self.color_jitter <= 1, "color_jitter from 0 to 1", self.color_jitter, REMEDY)
        if self.teacher_warmup_epochs > self.epochs:
            expected = f"at most {self.epochs} teacher_warmup_epochs, the run's length"
            raise ConfigError(expected, f"{self.teacher_warmup_epochs:g}", "lower teacher_warmup_epochs too")

    @property
    def crops(self) -> int:
        """Of an image."""
        return GLOBAL_CROPS + self.local_crops

    def passes(self, side: int) -> float:
        """Forward passes at `side` that a training image costs: the student's with their gradients, the teacher's."""
        seen = GLOBAL_CROPS + self.local_crops * (self.local_size / side) ** 2
        return 3.0 * seen + GLOBAL_CROPS


DINO: Final = DinoRecipe()
# few prototypes and a normed head for some hundred steps; digits have a left and a right and no colours
DINO_DIGITS: Final = dataclasses.replace(
    DINO,
    epochs=20,
    batch_size=64,
    lr=1e-3,
    lr_batch=64,
    warmup_epochs=1,
    weight_decay_end=0.04,
    drop_path=0.0,
    hflip=0.0,
    crop_scale=(0.5, 1.0),
    local_crops=2,
    local_size=16,
    local_scale=(0.2, 0.5),
    jitter=0.0,
    grey=0.0,
    blur=(0.0, 0.0, 0.0),
    solarise=0.0,
    out_dim=256,
    hidden_dim=256,
    bottleneck_dim=64,
    head_norm=True,
    teacher_momentum=0.99,
)
DINO_PRESETS: Final[Mapping[str, DinoRecipe]] = {
    "dino": DINO,
    "dino_hierarchical": dataclasses.replace(
        DINO, teacher_temperature=0.07, teacher_warmup_epochs=30, norm_last_layer=False
    ),
    "dino_conv": dataclasses.replace(
        DINO,
        optimizer="momentum",
        lr=0.03,
        weight_decay=1e-4,
        weight_decay_end=1e-4,
        crop_scale=(0.14, 1.0),
        local_scale=(0.05, 0.14),
    ),
    "dino_digits": DINO_DIGITS,
    # many prototypes and a slow centre: with 256 and 0.9 a few clusters by brightness or size take all
    "dino_shapes": dataclasses.replace(
        DINO_DIGITS,
        epochs=16,
        batch_size=32,
        lr_batch=32,
        hflip=0.5,
        crop_scale=(0.75, 1.0),
        local_crops=0,
        jitter=1.0,
        color_jitter=0.8,
        grey=0.8,
        out_dim=4096,
        teacher_temperature=0.03,
        teacher_temperature_start=0.03,
        centre_momentum=0.98,
    ),
}
