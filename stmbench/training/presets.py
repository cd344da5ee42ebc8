"""Recipes by name: the papers', and those of the embedded sets.

stm_conv, stm_attention   Hu et al., Table IV and the authors' flags: convolutional mixers at batch 4096 from a warm-up
                          at 0, attention mixers at 1024 from 1e-6; `stm` picks the one of the mixer's family
container                 Gao et al., Section 4.1: DeiT's (Touvron et al. 2021)
cot, cot_advanced         Li et al., Section 4.1: the default and the advanced setup
digits, shapes, relations, small    ours, for small images on a CPU

For detectors on COCO, whose 117,266 annotated images are 7,329 steps an epoch:

detection_stm             Hu et al., Section 5.2, and the authors' config: 12 epochs; drop path by scale
detection_container       Gao et al., Section 4.2: 12 epochs; the paper names no other setting, these are Hu et al.'s
detection_cot             Li et al., Section 4.2: 1x, shorter sides from 640 to 800, as ResNeSt (Zhang et al. 2020)
detection_detr            Gao et al., Table 5, 50 epochs; the rest is DETR's (Carion et al. 2020) without its crops
detection_small           ours, for `shapes` on a CPU

Those of self-distillation are in `dino_recipe`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stmbench.architectures import listing
from stmbench.architectures.model_names import ModelName
from stmbench.errors import UnknownNameError
from stmbench.training.dino_recipe import DINO_PRESETS, DinoRecipe
from stmbench.training.recipe import Recipe, read

STM_CONV = Recipe(batch_size=4096, lr=1e-3, lr_batch=1024, warmup_lr=0.0, min_lr=1e-6)
STM_ATTENTION = Recipe(batch_size=1024, lr=1e-3, lr_batch=1024, warmup_lr=1e-6, min_lr=1e-5)
CONTAINER = Recipe(
    batch_size=1024,
    lr=5e-4,
    lr_batch=512,
    warmup_epochs=5,
    warmup_lr=1e-6,
    min_lr=1e-5,
    clip_grad=None,
    ema=None,
)
COT = Recipe(
    epochs=100,
    batch_size=512,
    optimizer="sgd",
    lr=0.1,
    lr_batch=256,
    warmup_epochs=5,
    weight_decay=4e-5,
    clip_grad=None,
    min_lr=0.0,
    mixup=0.0,
    cutmix=0.0,
    auto_augment=None,
    color_jitter=0.0,
    random_erasing=0.0,
)
COT_ADVANCED = dataclasses.replace(
    COT, epochs=350, auto_augment="rand-m15-mstd0.5-n2", mixup=0.8, cutmix=1.0, dropout=0.25, drop_path=0.1
)
# digits have a left and a right, and reach their accuracy before an average of weights forgets the first ones
DIGITS = Recipe(
    epochs=12,
    batch_size=64,
    lr=3e-3,
    lr_batch=64,
    warmup_epochs=1,
    label_smoothing=0.0,
    mixup=0.0,
    cutmix=0.0,
    auto_augment=None,
    color_jitter=0.0,
    random_erasing=0.0,
    hflip=0.0,
    crop_scale=None,
    crop_pixels=2,
    drop_path=0.0,
    ema=None,
)
SHAPES = dataclasses.replace(DIGITS, epochs=15, lr=2e-3, crop_pixels=0)
# a folder of up to some 50,000 photographs: objects have no side, and lie anywhere
SMALL = dataclasses.replace(DIGITS, epochs=30, label_smoothing=0.1, hflip=0.5, crop_scale=(0.35, 1.0), crop_pixels=0)
# a relation is learned all at once or not at all, from a plateau that weight decay makes longer
RELATIONS = dataclasses.replace(
    SHAPES, epochs=1, batch_size=32, lr=1e-3, lr_batch=32, warmup_epochs=0.1, weight_decay=0.0
)

PLAIN = dataclasses.replace(DIGITS, crop_pixels=0, drop_path=None, clip_grad=None)  # nothing but the optimiser
DETECTION_STM = dataclasses.replace(
    PLAIN,
    epochs=12,
    batch_size=16,
    lr=1e-4,
    lr_batch=16,
    warmup_epochs=1_000 / 7_329,
    warmup_lr=1e-7,
    min_lr=0.0,
    hflip=0.5,
    milestones=(8.0, 11.0),
)
DETR = ("detr", "deformable-detr", "smca")  # kinds of detectors with a recipe of their own
DROP_PATH = {"micro": 0.1, "tiny": 0.2, "small": 0.2, "base": 0.3}  # of DETECTION_STM, for every mixer
DETECTION_COT = dataclasses.replace(
    DETECTION_STM, optimizer="momentum", lr=0.02, warmup_lr=2e-5, weight_decay=1e-4, shorter_sides=(640.0, 800.0)
)
DETECTION_DETR = dataclasses.replace(
    DETECTION_STM,
    epochs=50,
    warmup_epochs=0.0,
    weight_decay=1e-4,
    clip_grad=0.1,
    milestones=(40.0,),
    shorter_sides=(480.0, 800.0),
    backbone_lr=0.1,
)
DETECTION_SMALL = dataclasses.replace(
    PLAIN, epochs=4, batch_size=4, lr=2e-3, lr_batch=4, warmup_epochs=1, hflip=0.5, clip_grad=1.0
)

PRESETS: Mapping[str, Recipe] = {
    "stm_conv": STM_CONV,
    "stm_attention": STM_ATTENTION,
    "container": CONTAINER,
    "cot": COT,
    "cot_advanced": COT_ADVANCED,
    "digits": DIGITS,
    "shapes": SHAPES,
    "relations": RELATIONS,
    "small": SMALL,
    "detection_stm": DETECTION_STM,
    "detection_container": DETECTION_STM,
    "detection_cot": DETECTION_COT,
    "detection_detr": DETECTION_DETR,
    "detection_small": DETECTION_SMALL,
    **DINO_PRESETS,
}
BY_FAMILY = "stm"
SMALL_SETS = ("digits", "shapes")
STAGED = ("unified", "container", "cotnet")  # architectures of four stages
NAMES = (BY_FAMILY, *PRESETS)


def recipe_for(name: str, mixer: str | None = None, scale: str | None = None, **changes: Any) -> Recipe:
    """A preset with `changes` of its fields; `stm` is Hu et al.'s for the mixer's family.

    For a model of a scale, Hu et al.'s recipe of detectors has that scale's drop path.

    Where the epochs alone are changed, milestones keep their places in the run, and so does the end of a warm-up that
    would be as long as the run.

    Raises:
        UnknownNameError: no such preset or field. ConfigError: a value that the recipe refuses.
    """
    preset = _preset(name, mixer)
    fields = {field.name: field for field in dataclasses.fields(preset)}
    for key in changes:
        if key not in fields:
            raise UnknownNameError("field of a recipe", key, fields)
    values = read(changes, type(preset))
    if preset is DETECTION_STM and scale in DROP_PATH:
        values.setdefault("drop_path", DROP_PATH[scale])
    epochs = values.get("epochs")
    if "warmup_epochs" not in values and isinstance(epochs, int) and 1 <= epochs <= preset.warmup_epochs:
        values["warmup_epochs"] = preset.warmup_epochs / preset.epochs * epochs
    if isinstance(preset, DinoRecipe) and isinstance(epochs, int) and 1 <= epochs < preset.teacher_warmup_epochs:
        values.setdefault("teacher_warmup_epochs", preset.teacher_warmup_epochs / preset.epochs * epochs)
    if "milestones" not in values and preset.milestones is not None and isinstance(epochs, int) and epochs >= 1:
        values["milestones"] = tuple(mark * epochs / preset.epochs for mark in preset.milestones)
    return dataclasses.replace(preset, **values)


def warmup_remark(recipe: Recipe, name: str, mixer: str | None = None, **changes: Any) -> str | None:
    """A sentence on a warm-up that fewer epochs have shortened."""
    preset = _preset(name, mixer)
    if "warmup_epochs" in changes or recipe.warmup_epochs == preset.warmup_epochs:
        return None
    before = f"the recipe's {preset.warmup_epochs:g} of {preset.epochs} epochs"
    return f"warmed up for {recipe.warmup_epochs:.2g} of {recipe.epochs} epochs, in place of {before}"


def _preset(name: str, mixer: str | None) -> Recipe:
    if name not in NAMES:
        raise UnknownNameError("recipe", name, NAMES)
    return PRESETS[name if name != BY_FAMILY else _of_family(mixer)]


def default_recipe(dataset: str, model: str | None = None, task: str | None = None) -> str:
    """The recipe of an embedded set, or the unified architecture's; for a detector, those of detectors.

    Args:
        task: dino for self-distillation, where networks of four stages have a recipe of their own.
    """
    name = dataset.partition("[")[0]
    if task == DinoRecipe.task:
        if name in SMALL_SETS:
            return f"dino_{name}"
        return "dino_hierarchical" if ModelName.parse(model or "").architecture in STAGED else "dino"
    if model is not None and (kind := ModelName.parse(model).detector) is not None:
        if name == "shapes":
            return "detection_small"
        return "detection_detr" if kind in DETR else "detection_stm"
    if name == "shapes" and "relation=" in dataset:
        return "relations"
    return name if name in SMALL_SETS else BY_FAMILY


def _of_family(mixer: str | None) -> str:
    """Convolutions of any kind like larger batches, says the paper; a network without a mixer of ours counts as one."""
    family = "Convolution" if mixer is None else listing.names().families[mixer]
    return "stm_attention" if "Attention" in family or "MLP" in family else "stm_conv"
