"""Optimiser and learning rate, both timm's, as a recipe asks for them."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim._optim_factory import create_optimizer_v2
from timm.scheduler.scheduler_factory import create_scheduler_v2
from torch import nn

from stmbench.errors import ConfigError
from stmbench.training.recipe import DecayRule, Recipe


def optimizer_of(model: nn.Module, recipe: Recipe, mixer: str | None) -> torch.optim.Optimizer:
    """The recipe's optimiser over the model's parameters. Raises ConfigError for one that timm does not have."""
    options: dict[str, Any] = {"betas": recipe.betas} if recipe.optimizer.startswith("adam") else {}
    groups = parameter_groups(model, recipe.weight_decay, recipe.decay_rule, mixer)
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
    """timm's cosine after a linear warm-up, `epochs` in all, set with `step_update(step)` before each step.

    timm counts the warm-up before the cosine's length where the cosine is to begin at its top.
    """
    warmup = round(recipe.warmup_epochs * steps) / steps  # whole steps, so that the top is reached
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
    tables = set(getattr(model, "no_weight_decay", set)())
    exempt = {name for name, parameter in named if _is_exempt(name, parameter.ndim, tables, rule, mixer)}
    return [
        {"params": [p for name, p in named if name not in exempt], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name in exempt], "weight_decay": 0.0},
    ]


def _is_exempt(name: str, axes: int, tables: set[str], rule: DecayRule, mixer: str | None) -> bool:
    if rule == "none_on_tables":
        return axes <= 1 or name in tables
    last = name.rsplit(".", 1)[-1]
    if last == "scale" and mixer in SCALES_WITH_FOUR_AXES:
        return False
    return axes <= 1 or last == "bias" or last in TABLES_EXEMPT
