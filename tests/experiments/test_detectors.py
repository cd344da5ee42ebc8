"""Experiments with detectors: what is refused, what is planned, what they begin with, and what they are shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stmbench.architectures.catalog import create_model
from stmbench.data.detection.sets import open_detection_set
from stmbench.errors import ConfigError
from stmbench.experiments.estimating import images_of
from stmbench.experiments.planning import Resources
from stmbench.experiments.reading import read_experiment
from stmbench.experiments.tasks import options_of
from stmbench.studies.options import StudyOptions
from tests.experiments.files import refused, write
from tests.experiments.plans import named, planned

BACKBONE = "unified_dw_conv_nano"
MODEL = f"maskrcnn:{BACKBONE}"
IDENTITY = "maskrcnn:unified_identity_nano"
HEAD = f'title: T\nmodels: ["{IDENTITY}", "{MODEL}"]\n'
SHAPES = "data: {set: 'shapes[size=64,count=24]'}\n"
TRAINED = f"{HEAD}control: '{IDENTITY}'\nweights: trained\n{SHAPES}"
LOOKS = "analyses: [detection, {analysis: erf, dataset: photos, num_images: 2}]\n"


def test_detectors_are_trained_by_their_own_recipe_and_compared(tmp_path: Path) -> None:
    tasks = planned(tmp_path, TRAINED + LOOKS)
    names = [task.name for task in tasks]
    assert names[:2] == [f"train · {IDENTITY} · s0", f"train · {MODEL} · s0"]
    assert names[2:5] == [f"detection · {IDENTITY}", f"detection · {MODEL}", "detection · all models"]
    assert (tasks[0].runs[0].recipe.epochs, tasks[0].runs[0].dataset) == (4, "shapes[size=64,count=24]")
    assert (tasks[4].control, tasks[2].dataset, tasks[5].dataset) == (IDENTITY, "shapes[size=64,count=24]", "photos")
    assert not any(task.missing for task in tasks)


def test_the_images_of_an_estimate_are_those_that_detectors_are_shown(tmp_path: Path) -> None:
    tasks = planned(tmp_path, TRAINED + LOOKS)
    expected = len(open_detection_set("shapes[size=64,count=24]", split="test"))
    assert images_of(options_of(tasks[2]), tasks[2].models, 0) == expected
    assert images_of(options_of(tasks[5]), tasks[5].models, 0) == 2


def test_untrained_detectors_look_at_shapes(tmp_path: Path) -> None:
    assert {task.dataset for task in planned(tmp_path, f"{HEAD}analyses: [detection]\n")} == {"shapes"}


def test_coco_has_to_be_there(tmp_path: Path) -> None:
    tasks = planned(tmp_path, TRAINED.replace(SHAPES, "data: {set: coco, test: val}\n") + "analyses: [detection]\n")
    assert {task.missing for task in tasks} == {"the data set coco (--data coco=PATH)"}
    tasks = planned(
        tmp_path,
        TRAINED.replace(SHAPES, "data: {set: coco, test: val}\n") + "analyses: [detection]\n",
        resources=Resources(data={"coco": str(tmp_path)}),
    )
    assert {(task.missing, task.split) for task in tasks if task.step} == {(None, "val")}


def test_pretrained_detectors_begin_with_their_backbones_weights(tmp_path: Path) -> None:
    text = f"{TRAINED}training: {{pretrained: true}}\nanalyses: [detection]\n"
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(create_model(BACKBONE).state_dict(), weights / f"{BACKBONE}.safetensors")
    tasks = planned(tmp_path, text, resources=Resources(weights=weights))
    lacks = "weights of unified_identity_nano (--weights FOLDER)"
    assert {task.models: task.missing for task in tasks} == {(IDENTITY,): lacks, (MODEL,): None}
    run = named(tasks, f"train · {MODEL} · s0").runs[0]
    assert run.backbone is not None
    assert run.backbone.path == weights / f"{BACKBONE}.safetensors"
    assert (run.facts["backbone"] or "").startswith(BACKBONE)
    assert named(tasks, f"detection · {MODEL}").runs == (run,)
    assert named(tasks, f"train · {IDENTITY} · s0").runs[0].backbone is None


def test_weights_of_another_model_are_missing_ones(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / f"{BACKBONE}.safetensors")
    text = f"{TRAINED}training: {{pretrained: true}}\n"
    tasks = planned(tmp_path, text, resources=Resources(weights=tmp_path))
    assert (tasks[1].missing or "").startswith(f"usable weights of {BACKBONE} (expected ")


@pytest.mark.parametrize(
    ("model", "file"),
    [
        (f"{MODEL}[min_size=64]", f"maskrcnn-{BACKBONE}"),
        (f"{MODEL}[min_size=64]", f"maskrcnn-{BACKBONE}[min_size=64]"),
        (MODEL, MODEL),
        ("timm:resnet50", "timm-resnet50"),
        ("fasterrcnn:timm:resnet50", "fasterrcnn-timm-resnet50"),
    ],
)
def test_a_detectors_file_has_dashes_for_colons(model: str, file: str, tmp_path: Path) -> None:
    resources = Resources(weights=tmp_path)
    assert resources.checkpoint(model) == (None, f"weights of {model} (--weights FOLDER)")
    (tmp_path / f"{file}.pth").write_bytes(b"")
    assert resources.checkpoint(model) == (str(tmp_path / f"{file}.pth"), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TRAINED.replace(IDENTITY, BACKBONE), f"detectors alone, or none, to train in line 2 .*{MODEL} and {BACKBONE}"),
        (TRAINED.replace("shapes[size=64,count=24]", "digits"), "a set with boxes, for detectors in line 5 .*digits"),
        (
            f"{HEAD}{SHAPES}training: {{pretrained: true}}\nanalyses: [detection]\n",
            "detectors to train, for `pretrained` in line 4 .*random weights",
        ),
        (
            f"title: T\nmodels: {BACKBONE}\nweights: trained\ndata: {{set: digits}}\ntraining: {{pretrained: true}}\n",
            f"detectors to train, for `pretrained` in line 5 .*got {BACKBONE}",
        ),
        (
            f"{TRAINED}training: {{keep_every: 1}}\nanalyses: [{{analysis: detection, at_epochs: 9}}]\n",
            "at_epochs up to the 4 of the recipe",
        ),
    ],
)
def test_what_detectors_are_refused(text: str, said: str, tmp_path: Path) -> None:
    message = refused(tmp_path, text)
    assert re.search(said, message), message


def test_a_cost_may_be_that_of_detectors_and_their_backbones(tmp_path: Path) -> None:
    text = f'title: T\nmodels: ["{MODEL}", {BACKBONE}]\nanalyses: [profile]\n'
    assert read_experiment(write(tmp_path, text)).detectors == (MODEL,)


@pytest.mark.parametrize("names", [(MODEL, ("dw_conv",)), ("dw_conv", (MODEL,))])
def test_a_study_takes_mixers(names: tuple[str, tuple[str, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"a mixer, .*got maskrcnn:.*train a detector by itself"):
        StudyOptions(mixer=names[0], baselines=names[1])
