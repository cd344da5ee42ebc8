"""Models, data and files of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.experiments.reading import read_experiment
from stmbench.measure.counting import count
from stmbench.plugins import load_plugin, unload_plugins
from stmbench.studies.budget import FULL, ON_EVERY_SEED, Plan
from stmbench.studies.design import Effort, data_lines, design, recipe_of, training_lines
from stmbench.studies.files import imagenet_experiment, keep_plan, kept_plan
from stmbench.studies.options import StudyOptions

MY_MIXER = Path(__file__).parents[2] / "examples" / "my_mixer.py"
EFFORT = Effort(seeds=2, analyses=FULL, on_every_seed=ON_EVERY_SEED)


def _macs(name: str) -> int:
    return count(create_model(name), (3, 32, 32)).macs


def test_a_mixer_without_networks_gets_the_baselines_cost_and_the_control_keeps_its_network() -> None:
    load_plugin(MY_MIXER)
    try:
        made = design(StudyOptions(mixer="strip_modulation"))
        *others, control = made.baselines
        middle = sum(map(_macs, others)) / 2
        assert _macs(made.model) == pytest.approx(middle, rel=0.05)
        assert "dims=" in made.model
        assert control == "unified_identity_nano[layer_scale=1]"
        assert "matched in MACs" in made.notes[0]
        assert made.title == "Strip Modulation against Depth-Wise Convolution and Halo Attention"
    finally:
        unload_plugins()


def test_the_control_can_itself_be_a_baseline() -> None:
    made = design(StudyOptions(mixer="dw_conv", baselines=("identity",)))
    assert made.baselines == ("unified_identity_nano[layer_scale=1]",)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mixer": "dw_conv"}, ConfigError),  # compared with itself
        ({"mixer": "pooling", "baselines": ()}, ConfigError),
        ({"mixer": "pooling", "baselines": ("dw_conv", "dw_conv")}, ConfigError),
        ({"mixer": "pooling", "seeds": 0}, ConfigError),
        ({"mixer": "pooling", "baselines": ("dw_con",)}, UnknownNameError),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        design(StudyOptions(**options))  # type: ignore[arg-type]


def test_a_folder_is_trained_with_the_recipe_for_its_size(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (40, 40), (20 * number, 0, 0)).save(folder / f"{number}.png")
    assert data_lines(str(tmp_path)).test == "val"
    assert recipe_of(data_lines(str(tmp_path))) == "small"
    assert recipe_of(data_lines("digits")) == "digits"
    assert training_lines("small", 0.5).change == {"epochs": 15}
    assert training_lines("digits", 0.25).change == {"epochs": 3}
    assert training_lines("digits", 1.0).change == {}
    with pytest.raises(InputError, match="--dataset"):
        data_lines(str(tmp_path / "nothing"))


def test_the_imagenet_experiment_reads_as_an_experiment(tmp_path: Path) -> None:
    load_plugin(MY_MIXER)
    try:
        text = imagenet_experiment(StudyOptions(mixer="strip_modulation"), [MY_MIXER], tmp_path)
        file = tmp_path / "imagenet.yaml"
        file.write_text(text, encoding="utf-8")
        experiment = read_experiment(file)
        assert (tmp_path / yaml.safe_load(text)["plugins"][0]).resolve() == MY_MIXER.resolve()
        assert experiment.data is not None
        assert (experiment.data.set, experiment.seeds, experiment.device) == ("imagenet", (0, 1, 2), "cuda")
        assert experiment.models[0].model.startswith("unified_strip_modulation_micro[dims=")
        assert {step.name for step in experiment.analyses} == {*FULL}
        assert not any("layer_scale" in line.model for line in experiment.models)
    finally:
        unload_plugins()


def test_a_plan_is_kept_for_the_same_options_alone(tmp_path: Path) -> None:
    options = StudyOptions(mixer="pooling", budget=600.0)
    plan = Plan(effort=EFFORT, left_out=("corruption",), seconds=400.0, fits=True)
    keep_plan(tmp_path, options, plan)
    assert kept_plan(tmp_path, options) == plan
    assert kept_plan(tmp_path, StudyOptions(mixer="pooling", budget=1200.0)) is None
    (tmp_path / "study.json").write_text("{")
    assert kept_plan(tmp_path, options) is None
