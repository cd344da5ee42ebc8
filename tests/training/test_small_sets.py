"""Batches and warm-ups on sets and for epochs that are smaller than a recipe thinks of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stmbench.errors import ConfigError
from stmbench.measure import backend_settings
from stmbench.training.batches import batch_remark, with_fitting_batch
from stmbench.training.presets import PRESETS, STM_CONV, recipe_for, warmup_remark
from stmbench.training.recipe import Recipe
from tests.training.runs import PLAIN, folders, settings, training

SHARP = dataclasses.replace(STM_CONV, mixup=0.0, cutmix=0.0)


@pytest.mark.parametrize(
    ("recipe", "images", "processes", "accumulate", "batch"),
    [
        (STM_CONV, 5000, 1, 1, 4096),
        (STM_CONV, 4096, 1, 1, 4096),
        (STM_CONV, 4095, 1, 1, 4094),  # mixed images come in pairs
        (SHARP, 4095, 1, 1, 4095),
        (STM_CONV, 43, 1, 1, 42),
        (STM_CONV, 43, 2, 2, 40),
        (SHARP, 43, 3, 2, 42),
        (SHARP, 1, 1, 1, 1),
        (PLAIN, 16, 1, 1, 16),
    ],
)
def test_the_batch_that_images_fill(recipe: Recipe, images: int, processes: int, accumulate: int, batch: int) -> None:
    asked = settings(recipe=recipe, accumulate=accumulate)
    run = with_fitting_batch(asked, images, processes)
    assert run.recipe.batch_size == batch
    assert run.recipe.scaled_lr == pytest.approx(recipe.scaled_lr * batch / recipe.batch_size)
    assert with_fitting_batch(run, images, processes) == run
    assert (batch_remark(asked, run) is None) == (batch == recipe.batch_size)


@pytest.mark.parametrize(("recipe", "images", "processes"), [(STM_CONV, 1, 1), (SHARP, 2, 3)])
def test_too_few_images_for_one_step(recipe: Recipe, images: int, processes: int) -> None:
    with pytest.raises(ConfigError, match=f"at least [23] images to train on, got {images}; train on more images"):
        with_fitting_batch(settings(recipe=recipe), images, processes)


@pytest.mark.parametrize("name", PRESETS)
def test_one_epoch_of_every_recipe(name: str) -> None:
    preset, recipe = PRESETS[name], recipe_for(name, epochs=1)
    assert recipe.epochs == 1
    if preset.warmup_epochs >= 1:
        assert recipe.warmup_epochs == pytest.approx(preset.warmup_epochs / preset.epochs)
        assert "in place of the recipe's" in str(warmup_remark(recipe, name, epochs=1))
    else:
        assert warmup_remark(recipe, name, epochs=1) is None


@pytest.mark.parametrize(
    ("changes", "warmup"),
    [({"epochs": 21}, 20), ({"epochs": 20}, 20 * 20 / 300), ({"epochs": 3, "warmup_epochs": 2}, 2), ({}, 20)],
)
def test_the_warm_up_is_shortened_only_where_it_must_be(changes: dict[str, Any], warmup: float) -> None:
    assert recipe_for("stm_conv", **changes).warmup_epochs == pytest.approx(warmup)


def test_a_warm_up_that_was_asked_for_stays_refused() -> None:
    with pytest.raises(ConfigError, match="fewer warmup_epochs than the 2 epochs, got 2"):
        recipe_for("stm_conv", epochs=2, warmup_epochs=2)


def test_trainings_on_a_cpu_keep_freed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As timings and image analyses do: 2 to 8 % less time."""
    kept: list[str] = []
    monkeypatch.setattr(backend_settings, "keep_freed_memory", lambda: kept.append("kept"))
    monkeypatch.setattr(backend_settings, "give_back_memory", lambda: kept.append("given back"))
    run = settings(folders(tmp_path / "set"), recipe=dataclasses.replace(PLAIN, epochs=1, warmup_epochs=0))
    assert not training(tmp_path / "out", run).run().failures
    assert kept == ["kept", "given back"]
