"""Whole runs of self-distillation on pictures in memory: results, resume, several processes' arithmetic, bad input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stmbench.analyses.loaded_model import load_model
from stmbench.analyses.registry import View
from stmbench.analyses.train.section import section
from stmbench.checkpoints.loading import state_hash
from stmbench.errors import ConfigError, InputError
from stmbench.tables import Store
from stmbench.tasks.base import TASKS, TrainingData, open_data, task_name, task_of
from stmbench.tasks.dino.task import SelfDistillationTask
from stmbench.training import loop, options
from stmbench.training.dino_recipe import DINO_PRESETS, DinoRecipe
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.presets import default_recipe, recipe_for
from tests.data.memory_set import MemorySet
from tests.training.runs import IDENTITY, folders, memory, settings, trained, training

RECIPE = dataclasses.replace(
    DINO_PRESETS["dino_digits"],
    epochs=3, batch_size=16, lr_batch=16, warmup_epochs=1, drop_path=0.3, local_crops=2, out_dim=32, hidden_dim=24,
    bottleneck_dim=8, hflip=0.5, jitter=0.8, grey=0.2, solarise=0.2, blur=(1.0, 0.1, 0.5), knn_k=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)


def test_the_task_is_the_recipes() -> None:
    assert task_of(settings(recipe=RECIPE)) is SelfDistillationTask
    assert task_name(IDENTITY) == "classification"
    with pytest.raises(ConfigError, match="a network without a detector, for dino, got maskrcnn"):
        task_name("maskrcnn:unified_dw_conv_nano", RECIPE)


def test_the_command_knows_every_task() -> None:
    assert set(options.TASKS) == set(TASKS)


def test_defaults_by_set_and_network() -> None:
    assert default_recipe("shapes", IDENTITY, "dino") == "dino_shapes"
    assert default_recipe("imagenet", IDENTITY, "dino") == "dino_hierarchical"
    assert default_recipe("imagenet", "timm:vit_tiny_patch16_224", "dino") == "dino"
    changed = recipe_for("dino", local_crops=4, out_dim=256)
    assert isinstance(changed, DinoRecipe)
    assert (changed.local_crops, changed.out_dim, changed.lr) == (4, 256, 5e-4)


def test_a_run_leaves_rows_and_a_teacher_without_a_head(tmp_path: Path) -> None:
    run = settings(folders(tmp_path / "pets"), recipe=RECIPE, keep_every=1)
    report = training(tmp_path / "out", run).run()
    assert not report.failures
    frame = Store(tmp_path / "out").read()
    counts = frame[frame["kind"] == "raw"]["metric"].value_counts()
    for metric in ("knn_accuracy", "teacher_entropy", "teacher_divergence", "train_loss"):
        assert counts[metric] == RECIPE.epochs
    epochs = frame[frame["metric"].isin(["teacher_entropy", "teacher_divergence", "train_loss"])]
    means = epochs.pivot_table(index="sample", columns="metric", values="value")
    np.testing.assert_allclose(means["teacher_entropy"] + means["teacher_divergence"], means["train_loss"], rtol=1e-4)
    (final,) = frame[(frame["metric"] == "knn_accuracy") & (frame["kind"] == "summary")].to_dict("records")
    assert final["ci_low"] < final["value"] <= final["ci_high"]
    assert str(final["weights"]).startswith("pets.dino.e3.s0:")
    definition = section(View(rows=frame[frame["analysis"] == "train"])).definition
    assert definition is not None
    assert "Caron" in definition.source
    (folder,) = (tmp_path / "out/checkpoints").iterdir()
    kept = sorted(path.name for path in folder.glob("epoch-*"))
    assert kept == ["epoch-0001.safetensors", "epoch-0002.safetensors", "epoch-0003.safetensors"]
    loaded = load_model(IDENTITY, folder / "last.safetensors")
    assert loaded.num_classes == 0
    assert loaded.weights == final["weights"]
    assert not any(name.startswith("head") for name in load_file(folder / "last.safetensors"))


def test_a_stopped_run_ends_as_one_that_never_was(tmp_path: Path) -> None:
    data = folders(tmp_path / "pets")
    run = settings(data, recipe=RECIPE)
    training(tmp_path / "whole", run).run()

    seen = list[int]()

    def stop(progress: Any) -> None:
        seen.append(1)
        if len(seen) == 5:  # amid the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "stopped", run, listener=stop).run()
    assert not list((tmp_path / "stopped").glob("parts/*.parquet"))
    training(tmp_path / "stopped", run).run()

    def results(out: Path) -> tuple[Any, Any]:
        (losses,) = out.glob("parts/*losses.npy")
        values = Store(out).read().set_index(["metric", "sample"])["value"]
        kept = values[["teacher_entropy", "teacher_divergence", "knn_accuracy"]].dropna().to_dict()
        return np.load(losses).tolist(), (kept, {p.name: state_hash(load_file(p)) for p in out.rglob("*.safetensors")})

    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


def test_passes_of_a_step_are_one_large_batch() -> None:
    plain = dataclasses.replace(RECIPE, drop_path=0.0, head_norm=False)
    data = memory()
    one = trained(settings(recipe=plain, dtype="fp64"), data)
    other = trained(settings(recipe=plain, dtype="fp64", accumulate=2), data)
    np.testing.assert_allclose(one.record.losses, other.record.losses, rtol=0, atol=1e-9)
    torch.testing.assert_close(one.model.centre, other.model.centre, rtol=0, atol=1e-9)
    assert float(one.model.centre.abs().max()) > 1e-3


def begun(**changes: Any) -> Loop:
    run = settings(recipe=dataclasses.replace(RECIPE, **changes))
    made = Loop(run, memory(), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    made._began, made._begun_at = 0.0, 0
    return made


def test_the_last_layer_is_frozen_for_an_epoch() -> None:
    made = begun()
    last = made.model.student.head.last_layer.weight_v
    first = last.detach().clone()
    made._epoch()
    torch.testing.assert_close(last.detach(), first, rtol=0, atol=0)
    made._epoch()
    assert not torch.equal(last.detach(), first)


def test_weight_decay_rises_where_there_is_any() -> None:
    made = begun(weight_decay=0.04, weight_decay_end=0.4)
    made._epoch()
    decay, none = (group["weight_decay"] for group in made.optimizer.param_groups)
    assert 0.04 < decay < 0.4
    assert none == 0


def test_a_collapse_is_said() -> None:
    made = begun()
    assert made.task.warnings({"knn_accuracy": 0.5}) == []
    (said,) = made.task.warnings({"teacher_entropy": np.log(32), "teacher_divergence": 0.0})
    assert said.startswith(f"{IDENTITY}: the teacher has collapsed, all outputs are equal")


def test_without_labels_views_are_matched() -> None:
    train, test = MemorySet(None, count=32), MemorySet(None, count=9)
    data = TrainingData(train=train, test=test, chosen=tuple(range(32)), num_classes=0)
    made = trained(settings(recipe=dataclasses.replace(RECIPE, epochs=2, warmup_epochs=1)), data)
    scores = made.record.epochs[-1].scores
    assert next(iter(scores)) == "instance_accuracy"
    assert 1 / 9 < scores["instance_accuracy"] <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"local_size": 40}, "local crops of at most 32 pixels, the side of the global ones, got 40"),
        ({"local_size": 0}, "local_size >= 1"),
    ],
)
def test_crops_that_do_not_fit(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        begun(**changes)


def test_a_crop_smaller_than_the_network_takes() -> None:
    wide = settings(recipe=dataclasses.replace(RECIPE, local_size=8), model="container_v1_light")
    with pytest.raises(ConfigError, match=r"local crops of 8x8; use --set local_size=N"):
        Loop(wide, memory(), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)


def test_a_network_that_takes_no_local_crops() -> None:
    name = "timm:vit_tiny_patch16_224[img_size=32,depth=1,embed_dim=12,num_heads=2]"
    run = settings(recipe=RECIPE, model=name, resolution=(32, 32))
    with pytest.raises(ConfigError, match=r"takes local crops of 16x16, got .*32.*; try .*2,dynamic_img_size=True\],"):
        Loop(run, memory(), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    free = dataclasses.replace(run, model=name.replace("[", "[dynamic_img_size=True,"))
    Loop(free, memory(), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)


@pytest.mark.parametrize("field", ["mixup", "label_smoothing", "ema", "dropout"])
def test_a_recipe_without_what_labels_need(field: str) -> None:
    with pytest.raises(ConfigError, match=f"no {field} in a recipe of self-distillation"):
        dataclasses.replace(RECIPE, **{field: 0.5})


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="validation"):
        open_data(settings(folders(tmp_path / "pets"), recipe=RECIPE, test_split="validation"))


def test_a_network_that_does_not_take_the_global_crops() -> None:
    name = "timm:vit_tiny_patch16_224[img_size=32,depth=1,embed_dim=12,num_heads=2]"
    recipe = dataclasses.replace(RECIPE, local_crops=0)
    run = settings(recipe=recipe, model=name, resolution=(64, 48))
    with pytest.raises(ConfigError, match=r"takes images of 64x48, got .*32.*; try .*, or another --resolution"):
        Loop(run, memory(), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)


def test_every_collapsed_training_is_warned_of(tmp_path: Path) -> None:
    data = folders(tmp_path / "pets")
    recipe = dataclasses.replace(
        RECIPE, epochs=1, warmup_epochs=0, teacher_temperature=1e4, teacher_temperature_start=1e4,
        student_temperature=1e4,
    )  # fmt: skip
    models = IDENTITY, "unified_dw_conv_nano"
    runs = [settings(data, recipe=recipe, model=model) for model in models]
    said = "\n".join(training(tmp_path / "out", *runs).run().warnings)
    assert all(f"{model}: the teacher has collapsed" in said for model in models)
