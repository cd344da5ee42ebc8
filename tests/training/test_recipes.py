"""The papers' recipes: numbers at their batch sizes, schedules step by step, and which parameters are decayed."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.tasks.classification.task import loss_of, mixup_of
from stmbench.training.optimisation import optimizer_of, parameter_groups, schedule_of
from stmbench.training.presets import NAMES, PRESETS, default_recipe, recipe_for
from stmbench.training.recipe import ADDED, Recipe

COMMON = {"optimizer": "adamw", "weight_decay": 0.05, "label_smoothing": 0.1, "mixup": 0.8, "cutmix": 1.0}
STM = {**COMMON, "epochs": 300, "clip_grad": 5.0, "ema": 0.9999, "random_erasing": 0.25, "color_jitter": 0.4,
       "warmup_epochs": 20, "auto_augment": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic"}  # fmt: skip
COT = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "batch_size": 512,
    "warmup_epochs": 5,
    "ema": 0.9999,
    "label_smoothing": 0.1,
}
FACTS = {  # the papers' own numbers, and the learning rates at the batch sizes they name
    "stm_conv": ({**STM, "batch_size": 4096, "warmup_lr": 0.0, "min_lr": 1e-6}, 4e-3),
    "stm_attention": ({**STM, "batch_size": 1024, "warmup_lr": 1e-6, "min_lr": 1e-5}, 1e-3),
    "container": ({**COMMON, "epochs": 300, "warmup_epochs": 5, "random_erasing": 0.25}, 5e-4 * 1024 / 512),
    "cot": ({**COT, "epochs": 100, "mixup": 0.0, "cutmix": 0.0, "auto_augment": None, "dropout": 0.0}, 0.2),
    "cot_advanced": (
        {
            **COT,
            "epochs": 350,
            "mixup": 0.8,
            "cutmix": 1.0,
            "dropout": 0.25,
            "drop_path": 0.1,
            "auto_augment": "rand-m15-mstd0.5-n2",
            "weight_decay": 4e-5,
        },
        0.2,
    ),
}


def test_the_learning_rate_falls_at_milestones() -> None:
    recipe, steps = PRESETS["detection_stm"], 7_329  # of COCO in batches of 16
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.scaled_lr)
    schedule = schedule_of(optimizer, recipe, steps)
    wanted = {0: 1e-7, 500: 5.005e-5, 1_000: 1e-4, 8 * steps - 1: 1e-4, 8 * steps: 1e-5, 11 * steps: 1e-6}
    for step, rate in wanted.items():
        schedule.step_update(step)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate), step


@pytest.mark.parametrize(
    ("name", "epochs", "milestones"), [("detection_stm", 36, (24, 33)), ("detection_detr", 5, (4,))]
)
def test_milestones_keep_their_places(name: str, epochs: int, milestones: tuple[float, ...]) -> None:
    assert recipe_for(name, epochs=epochs).milestones == milestones
    assert recipe_for(name, epochs=epochs, milestones=[1, 2]).milestones == (1, 2)


@pytest.mark.parametrize("name", FACTS)
def test_a_preset_is_the_papers(name: str) -> None:
    facts, rate = FACTS[name]
    recipe = PRESETS[name]
    assert {field: getattr(recipe, field) for field in facts} == facts
    assert recipe.scaled_lr == pytest.approx(rate, rel=1e-12)
    assert recipe_for(name, batch_size=recipe.batch_size // 4).scaled_lr == pytest.approx(rate / 4, rel=1e-12)


@pytest.mark.parametrize("name", [name for name, recipe in PRESETS.items() if recipe.milestones is None])
def test_a_schedule_from_the_first_step_to_the_last(name: str) -> None:
    recipe, steps = PRESETS[name], 7
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.scaled_lr)
    schedule, rates = schedule_of(optimizer, recipe, steps), []
    for step in range(recipe.epochs * steps):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    warm = round(recipe.warmup_epochs * steps)
    assert rates[0] == pytest.approx(recipe.warmup_lr)
    assert rates[warm] == pytest.approx(recipe.scaled_lr), "the top right after the warm-up"
    assert max(rates) == rates[warm]
    for step in (1, warm // 2):
        straight = recipe.warmup_lr + (recipe.scaled_lr - recipe.warmup_lr) * step / warm
        assert rates[step] == pytest.approx(straight)
    for step in ((warm + len(rates)) // 2, len(rates) - 1):
        turn = math.pi * (step - warm) / (len(rates) - warm)
        cosine = recipe.min_lr + (recipe.scaled_lr - recipe.min_lr) * (1 + math.cos(turn)) / 2
        assert rates[step] == pytest.approx(cosine)


@pytest.mark.parametrize(
    ("mixer", "name"),
    [("dw_conv", "stm_conv"), ("dcnv3", "stm_conv"), ("halo_attn", "stm_attention"), ("sr_attn", "stm_attention"),
     ("sw_attn", "stm_attention"), (None, "stm_conv")],
)  # fmt: skip
def test_stm_is_by_family(mixer: str | None, name: str) -> None:
    assert recipe_for("stm", mixer) == PRESETS[name]
    sets = {"digits": "digits", "shapes[size=64]": "shapes", "/data/imagenet": "stm"}
    assert {text: default_recipe(text) for text in sets} == sets


def decayed(mixer: str, rule: str) -> set[str]:
    """The last words of the names of all decayed parameters."""
    model = create_model(f"unified_{mixer}_nano", num_classes=10)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    with_decay, without = parameter_groups(model, 0.05, rule, mixer)  # type: ignore[arg-type]
    assert (with_decay["weight_decay"], without["weight_decay"]) == (0.05, 0.0)
    found = [names[id(parameter)] for group in (with_decay, without) for parameter in group["params"]]
    assert sorted(found) == sorted(names.values()), "each parameter once"
    return {names[id(parameter)].rsplit(".", 1)[-1] for parameter in with_decay["params"]}


AUTHORS = {  # what the authors' code decays besides matrices and filters
    "halo_attn": {"scale", "height_rel", "width_rel"},
    "sr_attn": {"position"},
    "sw_attn": set(),
    "dw_conv": {"scale"},
    "dcnv3": set(),
}


@pytest.mark.parametrize("mixer", AUTHORS)
def test_what_is_decayed(mixer: str) -> None:
    assert decayed(mixer, "none_on_tables") == {"weight"}
    assert decayed(mixer, "authors_code") == {"weight"} | AUTHORS[mixer]


BAD = {
    "epochs": ("many", "epochs as a whole number, got 'many'"),
    "lr": ("1e-3x", "lr as a number, got '1e-3x'"),
    "betas": (3, "betas as a list of 2 numbers, got 3"),
    "optimizer": (None, "optimizer as a text, got None"),
    "ema": (True, "ema as a number or null, got True"),
    "drop_path": (1.0, "0 <= drop_path < 1, got 1.0"),
    "decay_rule": ("none", "decay_rule as one of none_on_tables, authors_code, authors_code_of_detection, got 'none'"),
    "batch_size": (2.5, "batch_size as a whole number, got 2.5"),
    "weight_decay": (math.inf, "weight_decay as a number, got inf"),
    "warmup_epochs": (300, "fewer warmup_epochs than the 300 epochs, got 300"),
    "crop_scale": ([0.5, 0.1], r"crop_scale with 0 < low <= high <= 1, got \(0.5, 0.1\)"),
    "momentum": (-0.1, "0 <= momentum < 1, got -0.1"),
    "mixup": (-1, "mixup >= 0, got -1"),
}


@pytest.mark.parametrize("field", BAD)
def test_a_recipe_refuses(field: str) -> None:
    value, said = BAD[field]
    with pytest.raises(ConfigError, match=said):
        recipe_for("stm_conv", **{field: value})


def test_values_as_yaml_gives_them() -> None:
    changed = recipe_for("digits", lr="1e-3", ema=None, betas=[0.8, 0.9], weight_decay=0, auto_augment="1e-3")
    assert changed == dataclasses.replace(
        PRESETS["digits"], lr=1e-3, ema=None, betas=(0.8, 0.9), weight_decay=0, auto_augment="1e-3"
    )
    with pytest.raises(UnknownNameError, match="did you mean mixup or cutmix"):
        recipe_for("digits", mixpu=0)
    with pytest.raises(UnknownNameError, match="did you mean stm"):
        recipe_for("smt")


def test_an_optimizer_that_timm_does_not_have() -> None:
    with pytest.raises(ConfigError, match="an optimizer of timm's, got 'adamx'"):
        optimizer_of(nn.Linear(2, 2), dataclasses.replace(Recipe(), optimizer="adamx"), None)


def test_smoothed_labels_and_mixed_images() -> None:
    plain = dataclasses.replace(PRESETS["digits"], label_smoothing=0.1)
    logits, labels = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64), torch.tensor([0])
    logs = logits.log_softmax(1)[0]
    assert float(loss_of(plain)(logits, labels)) == pytest.approx(float(-0.9 * logs[0] - 0.1 * logs.mean()))
    assert mixup_of(plain, 3) is None
    mixed = mixup_of(dataclasses.replace(plain, mixup=0.8), 3)
    assert mixed is not None
    _, targets = mixed(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    assert float(targets.min()) == pytest.approx(0.1 / 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_every_recipe_takes_few_epochs_alone(name: str, epochs: int) -> None:
    recipe = recipe_for(name, "halo_attn", "nano", epochs=epochs)
    assert recipe.epochs == epochs
    assert 0 <= recipe.warmup_epochs < epochs
    assert all(mark < epochs for mark in recipe.milestones or ())


def test_fields_that_came_later_leave_older_runs_known() -> None:
    assert recipe_for("digits").facts.keys().isdisjoint(ADDED)
    assert recipe_for("dino").facts.keys().isdisjoint(ADDED)
    assert recipe_for("detection_stm").facts["milestones"] == [8, 11]
