"""Optimiser, learning rate and average of the weights, all timm's, as a recipe asks for them."""

from __future__ import annotations

from typing import Any

import torch
from timm.scheduler.scheduler_factory import create_scheduler_v2
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from stmbench.errors import ConfigError
from stmbench.training.recipe import DecayRule, Recipe


def optimizer_of(model: nn.Module, recipe: Recipe, mixer: str | None) -> torch.optim.Optimizer:
    """The recipe's optimiser over the model's parameters. Raises ConfigError for one that timm does not have."""
    # here, as it imports PyTorch's compiler: 2 s and 100 MB for whoever asks what a training would be
    from timm.optim._optim_factory import create_optimizer_v2

    options: dict[str, Any] = {"betas": recipe.betas} if recipe.optimizer.startswith("adam") else {}
    if recipe.optimizer == "adamw":
        options["fused"] = True  # one kernel in place of several for each parameter
    groups = parameter_groups(model, recipe.weight_decay, recipe.decay_rule, mixer)
    if recipe.backbone_lr != 1 and hasattr(model, "trunk"):
        groups = slower_backbone(groups, model, recipe.scaled_lr, recipe.backbone_lr)
    try:
        return create_optimizer_v2(
            groups,
            opt=recipe.optimizer,
            lr=recipe.scaled_lr,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            **options,
        )
    except (ValueError, AssertionError) as error:
        got = f"{recipe.optimizer!r} ({error})"
        raise ConfigError("an optimizer of timm's", got, "change the recipe's optimizer or its options") from error


def schedule_of(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    """timm's cosine or steps after a linear warm-up, `epochs` in all, set with `step_update(step)` before each step.

    timm counts the warm-up before the cosine's length where the cosine is to begin at its top.
    """
    warmup = round(recipe.warmup_epochs * steps) / steps  # whole steps, so that the top is reached
    if recipe.milestones is not None:
        later: Any = [mark + 0.5 / steps for mark in recipe.milestones]  # timm looks a step ahead
        made, _ = create_scheduler_v2(
            optimizer,
            sched="multistep",
            num_epochs=recipe.epochs,
            decay_milestones=later,
            decay_rate=0.1,
            warmup_epochs=warmup,  # type: ignore[arg-type]
            warmup_lr=recipe.warmup_lr,
            step_on_epochs=False,
            updates_per_epoch=steps,
        )
        return made
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=recipe.epochs - warmup,  # type: ignore[arg-type]
        warmup_epochs=warmup,  # type: ignore[arg-type]
        warmup_prefix=True,
        warmup_lr=recipe.warmup_lr,
        min_lr=recipe.min_lr,
        step_on_epochs=False,
        updates_per_epoch=steps,
    )
    return schedule


class WeightAverage(ModelEmaV3):
    """timm's average of a model's weights and buffers, which collects the tensors of both once, not at every step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, decay=decay, use_warmup=True)
        pairs = list(zip(self.module.state_dict().values(), model.state_dict().values(), strict=True))
        self._weights = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """Move the average towards the model's weights, which are changed in place alone."""
        own, given = ([pair[side] for pair in self._weights] for side in (0, 1))
        torch._foreach_lerp_(own, given, weight=1.0 - decay)
        for count, now in self._counts:
            count.copy_(now)


SCALES_WITH_FOUR_AXES = ("halo_attn", "dw_conv")  # of the authors' modules; ours have one axis
TABLES_EXEMPT = ("relative_bias",)


def parameter_groups(
    model: nn.Module, weight_decay: float, rule: DecayRule, mixer: str | None = None
) -> list[dict[str, Any]]:
    """The trained parameters as two groups for an optimiser, with and without `weight_decay`.

    Args:
        mixer: of the model, for the authors' rule.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    tables = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        if module is model or module is getattr(model, "trunk", None)
        for name in getattr(module, "no_weight_decay", set)()
    }
    exempt = {name for name, parameter in named if _is_exempt(name, parameter.ndim, tables, rule, mixer)}
    return [
        {"params": [p for name, p in named if name not in exempt], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name in exempt], "weight_decay": 0.0},
    ]


def slower_backbone(groups: list[dict[str, Any]], model: nn.Module, lr: float, share: float) -> list[dict[str, Any]]:
    """The groups, each divided into the detector's `trunk`, whose learning rate is a share of `lr`, and the rest."""
    trunk = {id(parameter) for parameter in model.trunk.parameters()}  # type: ignore[union-attr]
    found = []
    for group in groups:
        inside = [parameter for parameter in group["params"] if id(parameter) in trunk]
        outside = [parameter for parameter in group["params"] if id(parameter) not in trunk]
        found += [{**group, "params": inside, "lr": lr * share}, {**group, "params": outside}]
    return found


def _is_exempt(name: str, axes: int, tables: set[str], rule: DecayRule, mixer: str | None) -> bool:
    if rule == "none_on_tables":
        return axes <= 1 or name in tables
    if rule == "authors_code_of_detection":  # by name alone: norms of stem and transitions are not called so there
        words = name.split(".")
        of_a_block = "norm" in name and "stem" not in words and "transitions" not in words
        return of_a_block or words[-1] in TABLES_EXEMPT
    last = name.rsplit(".", 1)[-1]
    if last == "scale" and mixer in SCALES_WITH_FOUR_AXES:
        return False
    return axes <= 1 or last == "bias" or last in TABLES_EXEMPT
