"""Recipes are made for a million images: what becomes of a batch on a set of a few dozen."""

from __future__ import annotations

import dataclasses

from stmbench.errors import ConfigError
from stmbench.training.settings import TrainingSettings


def fitted(settings: TrainingSettings, images: int, processes: int) -> TrainingSettings:
    """The run with a batch that so many images fill: one step an epoch where they are fewer than the recipe's batch.

    The learning rate falls with the batch, as the recipe scales it.

    Raises:
        ConfigError: fewer images than there are processes and passes; where images are mixed, twice as many.
    """
    recipe = settings.recipe
    if recipe.batch_size <= images:
        return settings
    smallest = processes * settings.accumulate * (2 if recipe.mixes else 1)
    batch = images // smallest * smallest
    if not batch:
        remedy = "train on more images, or with --set mixup=0 --set cutmix=0 and fewer passes"
        raise ConfigError(f"at least {smallest} images to train on", str(images), remedy)
    return dataclasses.replace(settings, recipe=dataclasses.replace(recipe, batch_size=batch))


def remark(asked: TrainingSettings, run: TrainingSettings) -> str | None:
    """What the smaller batch changes, as a sentence; None where nothing was changed."""
    if asked.recipe.batch_size == run.recipe.batch_size:
        return None
    batch, rate = run.recipe.batch_size, run.recipe.scaled_lr
    fewer = f"fewer images than the batch of {asked.recipe.batch_size}"
    return f"{run.model}: {fewer}, trained in batches of {batch} with a learning rate of {rate:.2g}"
