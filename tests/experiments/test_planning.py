"""From an experiment to tasks: what there is to do, in which order, and what is missing for it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stmbench.analyses import models
from stmbench.analyses.images import ImageAnalysis
from stmbench.analyses.options import ImageOptions
from stmbench.commands.plan_output import tasks_done
from stmbench.data import sets
from stmbench.errors import InputError
from stmbench.experiments.estimating import Estimator
from stmbench.experiments.planning import Resources
from stmbench.experiments.tasks import is_done, options_of
from stmbench.tables import Store
from stmbench.tasks.classification import data as training_data
from stmbench.training.analysis import Training
from stmbench.training.settings import TrainingSettings
from tests.experiments.files import HEAD, MODELS, TINY, TRAINED, write
from tests.experiments.plans import named, planned

IDENTITY, DW_CONV = MODELS
FILES = f"{HEAD}weights: files\nanalyses:\n  - {{analysis: eval, set: digits}}\n  - erf\n"
IMAGENET = f"{HEAD}weights: trained\ndata: {{set: imagenet}}\nanalyses: [eval, {{analysis: erf, set: photos}}]\n"


def test_trained_models_are_trained_looked_at_and_compared(tmp_path: Path) -> None:
    tasks = planned(tmp_path, TINY)
    names = [task.name for task in tasks]
    trainings = [f"train · {model} · s0 · 0.1 of the data" for model in MODELS]
    looks = [f"eval · {model}" for model in MODELS]
    assert names == [*trainings, *looks, "eval · all models", *(f"erf · {model}" for model in MODELS)]
    assert named(tasks, looks[1]).needs == (trainings[1],)
    both = named(tasks, "eval · all models")
    assert (both.models, both.needs, both.control) == (MODELS, (*trainings, *looks), IDENTITY)
    first = tasks[0]
    assert (first.step, first.models, first.missing, first.title) == (None, (IDENTITY,), None, "train")
    assert (first.runs[0].data_fraction, first.runs[0].recipe.epochs) == (0.1, 1)


def test_every_task_comes_after_what_it_needs(tmp_path: Path) -> None:
    text = TINY.replace("[0.1]", "[0.1, 0.2]").replace("control", "seeds: [1, 2]\ncontrol")
    before: set[str] = set()
    for task in planned(tmp_path, text):
        assert set(task.needs) <= before, task.name
        before.add(task.name)


def test_seeds_fractions_and_epochs_multiply_and_names_are_unique(tmp_path: Path) -> None:
    text = (
        TRAINED.replace("[0.1]", "[0.1, 0.5]")
        .replace("epochs: 1,", "epochs: 4,")
        .replace("control", "seeds: [3, 5]\ncontrol")
    )
    text += "  keep_every: 2\nanalyses:\n  - {analysis: erf, at_epochs: [2, 4]}\n  - {analysis: erf, num_images: 2}\n"
    tasks = planned(tmp_path, text)
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names)
    trainings = [task for task in tasks if task.step is None]
    assert {(task.models[0], task.seed, task.runs[0].data_fraction) for task in trainings} == {
        (model, seed, share) for model in MODELS for seed in (3, 5) for share in (0.1, 0.5)
    }
    assert len(tasks) - len(trainings) == 8 * (2 + 1), "two epochs of the first erf, the end for the second"
    look = named(tasks, f"erf 1 · {DW_CONV} · s5 · 0.5 of the data · epoch 2")
    assert (look.epoch, look.runs[0].seed, look.runs[0].data_fraction) == (2, 5, 0.5)
    assert look.seed == 3, "which images are drawn does not depend on the run's seed"
    assert all(task.runs[0].keep_every == 2 for task in trainings)


def test_random_weights_are_not_trained_and_differ_by_seed(tmp_path: Path) -> None:
    tasks = planned(tmp_path, f"{HEAD}seeds: [1, 2]\nanalyses: [erf]\n")
    assert [task.seed for task in tasks] == [1, 1, 2, 2]
    assert all(not task.runs and not task.needs for task in tasks)
    assert {(task.dataset, task.split) for task in tasks} == {("photos", "test")}


def test_a_profile_is_one_task_of_all_models_and_runs_alone(tmp_path: Path) -> None:
    (task,) = planned(tmp_path, f"{HEAD}seeds: [4, 5]\nanalyses: [profile]\n")
    assert (task.models, task.alone, task.seed, task.name) == (MODELS, True, 4, "profile")


def test_one_model_is_compared_with_nothing(tmp_path: Path) -> None:
    text = f"title: T\nmodels: {IDENTITY}\ndata: {{set: digits}}\nanalyses: [eval]\n"
    assert [task.name for task in planned(tmp_path, text)] == [f"eval · {IDENTITY}"]


def test_split_and_set_of_an_analysis_are_its_own(tmp_path: Path) -> None:
    text = f"{HEAD}data: {{set: digits, test: train}}\nanalyses:\n"
    text += (
        "  - {analysis: erf, num_images: 1}\n  - {analysis: rotation, set: photos}\n  - {analysis: eval, split: test}\n"
    )
    tasks = planned(tmp_path, text)
    data = {task.title: (task.dataset, task.split) for task in tasks}
    assert data == {"erf": ("digits", "train"), "rotation": ("photos", "test"), "eval": ("digits", "test")}


def test_fresh_does_not_measure_twice_for_a_comparison(tmp_path: Path) -> None:
    tasks = planned(tmp_path, TINY, fresh=True, plugins=("a.py",))
    assert {task.name for task in tasks if not task.fresh} == {"eval · all models"}
    assert {task.plugins for task in tasks} == {("a.py",)}


def test_missing_data_and_what_needs_none(tmp_path: Path) -> None:
    lacks = "the data set imagenet (--data imagenet=PATH)"
    tasks = planned(tmp_path, IMAGENET)
    assert {task.missing for task in tasks} == {lacks}
    assert not any(len(task.models) > 1 for task in tasks), "nothing to compare"
    place = tmp_path / "images"
    place.mkdir()
    tasks = planned(tmp_path, IMAGENET, resources=Resources(data={"imagenet": str(place)}))
    assert {task.missing for task in tasks} == {None}
    assert tasks[0].runs[0].dataset == str(place)
    tasks = planned(tmp_path, f"{HEAD}data: {{set: imagenet}}\nanalyses: [eval, {{analysis: erf, set: photos}}]\n")
    assert {task.title: task.missing for task in tasks} == {"eval": lacks, "erf": None}


def test_missing_weights_of_some_models(tmp_path: Path) -> None:
    tasks = planned(tmp_path, FILES)
    assert {task.missing for task in tasks} == {f"weights of {model} (--weights FOLDER)" for model in MODELS}
    (tmp_path / f"{DW_CONV}.safetensors").write_bytes(b"")
    tasks = planned(tmp_path, FILES, resources=Resources(weights=tmp_path))
    assert named(tasks, f"eval · {DW_CONV}").missing is None
    assert named(tasks, f"eval · {DW_CONV}").files == {DW_CONV: str(tmp_path / f"{DW_CONV}.safetensors")}
    assert named(tasks, f"erf · {IDENTITY}").missing is not None
    assert not any(len(task.models) > 1 for task in tasks)
    (tmp_path / f"{IDENTITY}.pth").write_bytes(b"")
    both = named(planned(tmp_path, FILES, resources=Resources(weights=tmp_path)), "eval · all models")
    assert set(both.files) == set(MODELS)


def test_weights_named_as_their_authors_do(tmp_path: Path) -> None:
    (tmp_path / "unified_convnext_tiny.pth").write_bytes(b"")
    resources = Resources(weights=tmp_path)
    assert resources.checkpoint("unified_dw_conv_tiny") == (str(tmp_path / "unified_convnext_tiny.pth"), None)
    assert resources.checkpoint("unified_dw_conv_micro")[0] is None
    assert resources.checkpoint("container_dw_conv_tiny")[0] is None


def test_a_missing_gpu_and_anyway(tmp_path: Path) -> None:
    text = TINY.replace("control", "device: cuda\ncontrol")
    assert {task.missing for task in planned(tmp_path, text)} == {"a GPU (--anyway runs it on the CPU)"}
    assert {task.missing for task in planned(tmp_path, text, anyway=True)} == {None}
    tasks = planned(tmp_path, text, resources=Resources(device="cuda:1"))
    assert {(task.missing, task.device) for task in tasks} == {(None, "cuda:1")}


def test_places_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected the data set imagenet, got nothing at /no/where; correct --data"):
        Resources(data={"imagenet": "/no/where"})
    with pytest.raises(InputError, match=r"expected a folder of weights, got no folder at .*e.yaml; correct --weights"):
        Resources(weights=write(tmp_path, ""))


def test_the_options_of_an_analysis_reach_its_request(tmp_path: Path) -> None:
    text = f"{HEAD}data: {{set: digits}}\nanalyses:\n"
    text += "  - {analysis: rotation, num_images: 3, resolution: 48, batch_size: 2, dtype: bf16, levels: [0, 5]}\n"
    options = options_of(planned(tmp_path, text)[0])
    assert isinstance(options, ImageOptions)
    assert (options.num_images, options.resolution, options.batch_size, options.dtype, options.passes(3)) == (
        3,
        48,
        2,
        "bf16",
        9.0,
    )


def test_what_tasks_share_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = planned(tmp_path, TINY)
    for _ in range(3):  # of one analysis, as of an experiment of many
        tasks += [dataclasses.replace(tasks[2], name=f"{len(tasks)}")]
    (tmp_path / "store" / "parts").mkdir(parents=True)
    training_data._listed.cache_clear()  # an earlier training of this process listed the digits
    made, opened, built = list[object](), list[str](), list[str]()
    training, opener, size = Training.__init__, sets._opened, models.design_size

    def making(self: Training, runs: Sequence[TrainingSettings], *rest: Any, **options: Any) -> None:
        made.append(runs)
        training(self, runs, *rest, **options)

    monkeypatch.setattr(Training, "__init__", making)
    monkeypatch.setattr(sets, "_opened", lambda *asked: opened.append(asked[1]) or opener(*asked))
    monkeypatch.setattr(models, "design_size", lambda name: built.append(name) or size(name))
    monkeypatch.setattr(Store, "keys", lambda _: ["of another experiment"])
    done = tasks_done(tasks, tmp_path / "store")
    assert set(done.values()) == {False}
    assert len(made) == 2 * 2, "each training for its folder, and whether it is done"
    assert sorted(opened) == ["test", "train"]
    with sets.opened_once():
        assert sets.open_set("digits") is sets.open_set("digits")
    assert sets.open_set("digits") is not sets.open_set("digits")
    estimator = Estimator("cpu", 1)
    monkeypatch.setattr(estimator, "speed", lambda _: 1.0)
    for task in [*tasks, *tasks]:
        assert estimator.seconds(task)
    assert sorted(built) == sorted(MODELS)


def test_whether_an_analysis_is_done_takes_no_code_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = planned(tmp_path, "title: T\nmodels: [unified_identity_nano]\ndata: {set: digits}\nanalyses: [erf]\n")
    monkeypatch.setitem(sys.modules, "stmbench.training.analysis", None)
    (tmp_path / "store" / "parts").mkdir(parents=True)
    assert not is_done(task, tmp_path / "store")
    monkeypatch.setattr(ImageAnalysis, "is_complete", lambda _: True)
    assert is_done(task, tmp_path / "store")
