"""The model that is trained: fresh weights of a seed, with what the recipe puts into it and around it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError
from stmbench.training.distributed import World
from stmbench.training.settings import TrainingSettings, seed_at


def built(settings: TrainingSettings, num_classes: int) -> nn.Module:
    """The model with weights of the seed. Raises ConfigError where it cannot recompute its blocks and was asked to."""
    recipe = settings.recipe
    options: dict[str, Any] = {"num_classes": num_classes}
    if recipe.drop_path is not None:
        options["drop_path_rate"] = recipe.drop_path
    seed_at(settings.seed)
    model = create_model(settings.model, **options)
    if settings.grad_checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise ConfigError("a model that can recompute its blocks", settings.model, "leave --grad-checkpointing out")
        cast(Any, model).set_grad_checkpointing()
    if recipe.dropout:
        _drop_before(cast(Any, model).get_classifier(), recipe.dropout)
    return model


def wrapped(model: nn.Module, settings: TrainingSettings, world: World) -> nn.Module:
    """What the forward pass of a step goes through: gradients shared by the processes, compiled where asked for."""
    found = model
    if world.size > 1:
        on_gpu = world.device.type == "cuda"
        found = DistributedDataParallel(found, device_ids=[world.device.index] if on_gpu else None)
    return cast(nn.Module, torch.compile(found)) if settings.compile else found


def _drop_before(classifier: nn.Module, rate: float) -> None:
    """Dropout of the pooled features, for any model: few have an option for it."""
    drop = nn.Dropout(rate)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (drop.train(module.training)(inputs[0]), *inputs[1:])

    classifier.register_forward_pre_hook(before)
