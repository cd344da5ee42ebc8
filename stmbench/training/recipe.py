"""What a training run does to a model: optimiser, schedule, regularisation and augmentation, in one config."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from stmbench.errors import ConfigError, require

WORDS = {int: "a whole number", float: "a number", str: "a text"}


def require_types(config: object, remedy: str) -> None:
    """Check each field of a dataclass against its annotation: numbers, text, choices, tuples of them, or None.

    Raises:
        ConfigError: the first field whose value is of another type, or a number that is not finite.
    """
    kind: type = type(config)
    for name, hint in _hints(kind).items():
        if typing.get_origin(hint) is ClassVar:
            continue
        value = getattr(config, name)
        if not _fits(value, hint):
            raise ConfigError(f"{name} as {_words(hint)}", repr(value), remedy)


@functools.cache  # a plan of a hundred trainings makes a thousand recipes
def _hints(config: type) -> Mapping[str, Any]:
    return typing.get_type_hints(config)


def read(values: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Values as YAML gives them: lists for tuples, and numbers such as 1e-3, which YAML takes for text."""
    hints = _hints(config)
    return {name: _read(value, hints[name]) for name, value in values.items()}


def _read(value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read(item, float) for item in value)
    if isinstance(value, str) and float in _choices(hint):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _choices(hint: Any) -> tuple[Any, ...]:
    """The parts of `A | B`; a hint that is no union by itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_is_a(value, choice) for choice in _choices(hint))


def _is_a(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_a, value, kinds))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """What a value should be, for a message."""
    if hint is type(None):
        return "null"
    if len(_choices(hint)) > 1:
        return " or ".join(_words(choice) for choice in _choices(hint))
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(arguments)}"
    if arguments:
        return "a list of numbers" if arguments[-1] is ... else f"a list of {len(arguments)} numbers"
    return WORDS.get(hint, str(hint))


DecayRule = Literal["none_on_tables", "authors_code", "authors_code_of_detection"]
REMEDY = "change the recipe"
ADDED = ("milestones", "shorter_sides", "backbone_lr")  # fields that older, still known runs do not have


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe. `lr` belongs to `lr_batch` images a step and grows in proportion with `batch_size`.

    Rates are a step's, lengths are epochs. `drop_path` None leaves each model its own. `crop_scale` None takes the
    images as an evaluation does; `crop_pixels` pads and shifts them by up to so many pixels. `ema` None keeps no
    average of the weights. `decay_rule` says what is exempt from weight decay, see `stmbench.training.optimisation`.
    """

    task: ClassVar[str | None] = None  # that the recipe is for; None: the model's own

    epochs: int = 300
    batch_size: int = 1024  # of all processes and accumulated steps together
    optimizer: str = "adamw"  # timm's name; its 'sgd' is Nesterov's, 'momentum' the plain one
    lr: float = 1e-3
    lr_batch: int = 1024
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    weight_decay: float = 0.05
    decay_rule: DecayRule = "none_on_tables"
    clip_grad: float | None = 5.0  # largest norm of all gradients together
    warmup_epochs: float = 20
    warmup_lr: float = 0.0  # of the first step
    min_lr: float = 1e-6  # of the last
    label_smoothing: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    auto_augment: str | None = "rand-m9-mstd0.5-inc1"
    color_jitter: float = 0.4  # timm uses it where there is no auto_augment
    random_erasing: float = 0.25
    hflip: float = 0.5
    crop_scale: tuple[float, float] | None = (0.08, 1.0)
    crop_pixels: int = 0
    interpolation: str = "bicubic"
    drop_path: float | None = None
    dropout: float = 0.0
    ema: float | None = 0.9999
    # None: a cosine; else the epochs at whose ends the learning rate falls to a tenth
    milestones: tuple[float, ...] | None = None
    shorter_sides: tuple[float, float] | None = None  # of a detector's images, in pixels; None: one size, the model's
    backbone_lr: float = 1.0  # the backbone's learning rate, as a share of the rest's, in a detector

    def __post_init__(self) -> None:
        require_types(self, REMEDY)
        for name in ("epochs", "batch_size", "lr_batch"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name), REMEDY)
        for name in ("warmup_epochs", "warmup_lr", "min_lr", "weight_decay", "mixup", "cutmix", "crop_pixels"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name), REMEDY)
        require(self.color_jitter >= 0, "color_jitter >= 0", self.color_jitter, REMEDY)
        require(self.lr > 0, "lr > 0", self.lr, REMEDY)
        if self.warmup_epochs >= self.epochs:
            expected = f"fewer warmup_epochs than the {self.epochs} epochs"
            raise ConfigError(expected, repr(self.warmup_epochs), "lower warmup_epochs too (--set warmup_epochs=0)")
        for name in ("label_smoothing", "random_erasing", "hflip", "dropout"):
            require(0 <= getattr(self, name) <= 1, f"{name} from 0 to 1", getattr(self, name), REMEDY)
        require(self.drop_path is None or 0 <= self.drop_path < 1, "0 <= drop_path < 1", self.drop_path, REMEDY)
        require(self.ema is None or 0 < self.ema < 1, "an ema between 0 and 1", self.ema, REMEDY)
        require(self.clip_grad is None or self.clip_grad > 0, "clip_grad > 0", self.clip_grad, REMEDY)
        require(all(0 <= beta < 1 for beta in self.betas), "betas from 0 to less than 1", self.betas, REMEDY)
        require(0 <= self.momentum < 1, "0 <= momentum < 1", self.momentum, REMEDY)
        require(self.backbone_lr >= 0, "backbone_lr >= 0", self.backbone_lr, REMEDY)
        marks = self.milestones or ()
        expected = f"rising milestones below the {self.epochs} epochs"
        require(
            all(low < high for low, high in zip((0, *marks), (*marks, self.epochs), strict=True)),
            expected,
            marks,
            REMEDY,
        )
        if self.shorter_sides is not None:
            low, high = self.shorter_sides
            require(1 <= low <= high, "shorter_sides with 1 <= low <= high", self.shorter_sides, REMEDY)
        if self.crop_scale is not None:
            low, high = self.crop_scale
            require(0 < low <= high <= 1, "crop_scale with 0 < low <= high <= 1", self.crop_scale, REMEDY)
            require(self.crop_pixels == 0, "crop_scale or crop_pixels", "both", REMEDY)

    @property
    def scaled_lr(self) -> float:
        """The learning rate at `batch_size`: linear scaling (Goyal et al. 2017)."""
        return self.lr * self.batch_size / self.lr_batch

    def passes(self, side: int) -> float:
        """Forward passes at `side` pixels that a training image costs, the backward pass as two of them."""
        return 3.0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with one another, which makes targets of their labels."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def augments(self) -> bool:
        """Whether an image differs from epoch to epoch."""
        return bool(self.crop_scale or self.auto_augment or self.color_jitter or self.random_erasing or self.hflip)

    @property
    def facts(self) -> dict[str, Any]:
        """The fields as JSON holds them; those that came later are left out where they change nothing."""
        added = {name: field.default for name, field in type(self).__dataclass_fields__.items() if name in ADDED}
        values = {name: value for name, value in vars(self).items() if name not in added or value != added[name]}
        values |= {"task": self.task} if self.task else {}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
