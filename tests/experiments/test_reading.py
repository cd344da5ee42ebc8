"""What an experiment file means: its values, what it includes, its miniature."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.analyses.robustness.options import RobustnessOptions
from stmbench.errors import ConfigError
from stmbench.experiments.reading import plugins_of, read_experiment
from stmbench.experiments.steps import Step
from tests.experiments.files import HEAD, MODELS, TINY, write


def test_the_values_of_a_file(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path, TINY))
    assert (experiment.name, experiment.title, experiment.heading) == ("e", "T", "T")
    assert tuple(line.model for line in experiment.models) == MODELS
    assert experiment.data is not None
    assert (experiment.data.set, experiment.data.train, experiment.data.fractions) == ("digits", "train", (0.1,))
    assert experiment.training.change == {"epochs": 1, "warmup_epochs": 0}
    assert experiment.analyses == (
        Step(name="eval", analysis="eval", given={"num_images": 20}),
        Step(name="erf", analysis="erf", given={"num_images": 2}),
    )


def test_what_may_be_left_out(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path, f"{HEAD}analyses: [profile, erf]\n"))
    assert experiment.analyses == (Step(name="profile", analysis="profile"), Step(name="erf", analysis="erf"))
    assert (experiment.weights, experiment.seeds, experiment.data, experiment.device) == ("random", (0,), None, "any")


def test_one_item_needs_no_brackets_and_numbers_may_be_written_as_people_do(tmp_path: Path) -> None:
    text = f"{HEAD}seeds: 3\nanalyses:\n  - {{analysis: robustness, eps: [8/255, 1e-2, 0.5]}}\n"
    experiment = read_experiment(write(tmp_path, text))
    assert experiment.seeds == (3,)
    (step,) = experiment.analyses
    options = step.options()
    assert isinstance(options, RobustnessOptions)
    assert options.config.eps == pytest.approx((0.01, 8 / 255, 0.5))


def test_a_glob_is_every_model_that_matches_and_a_model_can_have_a_label(tmp_path: Path) -> None:
    text = 'title: T\nmodels:\n  - "unified_*_attn_nano"\n  - {model: unified_dw_conv_nano, label: DW, row: {a: 1}}\n'
    models = read_experiment(write(tmp_path, f"{text}analyses: erf\n")).models
    assert {"unified_halo_attn_nano", "unified_sr_attn_nano"} <= {line.model for line in models}
    assert (models[-1].label, models[-1].row) == ("DW", {"a": 1})


def test_own_keys_win_over_included_ones_and_later_includes_over_earlier(tmp_path: Path) -> None:
    write(tmp_path, f"{HEAD}seeds: [1]\nnote: first\nanalyses: erf\n", "a.yaml")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "seeds: [2]\nnote: second\n", "b.yaml")
    experiment = read_experiment(write(tmp_path, "include: [a.yaml, sub/b.yaml]\nseeds: [3]\n"))
    assert (experiment.title, experiment.seeds, experiment.note) == ("T", (3,), "second")


def test_a_circle_of_includes_is_named_from_end_to_end(tmp_path: Path) -> None:
    write(tmp_path, "note: b\ninclude: c.yaml\n", "b.yaml")
    write(tmp_path, "include: b.yaml\n", "c.yaml")
    with pytest.raises(ConfigError, match=r"got b.yaml -> c.yaml -> b.yaml in line 1 of c.yaml; remove one"):
        read_experiment(write(tmp_path, f"{HEAD}include: b.yaml\n"))


def test_a_missing_include_of_an_include_is_named_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "note: b\n\ninclude: none.yaml\n", "b.yaml")
    with pytest.raises(ConfigError, match=r"the file included in line 3 of b.yaml, got none at .*none.yaml; correct"):
        read_experiment(write(tmp_path, f"{HEAD}include: b.yaml\n"))


def test_the_same_file_may_be_included_by_two(tmp_path: Path) -> None:
    write(tmp_path, f"{HEAD}analyses: erf\n", "base.yaml")
    write(tmp_path, "include: base.yaml\nseeds: [1]\n", "b.yaml")
    assert read_experiment(write(tmp_path, "include: [base.yaml, b.yaml]\n")).seeds == (1,)


def test_a_mistake_in_an_included_file_is_named_there(tmp_path: Path) -> None:
    write(tmp_path, "note: b\nseeds: [x]\n", "b.yaml")
    with pytest.raises(ConfigError, match=r"`seeds` in line 2 of b.yaml"):
        read_experiment(write(tmp_path, f"{HEAD}analyses: erf\ninclude: b.yaml\n"))


def test_the_miniature_replaces_keys_and_is_labelled(tmp_path: Path) -> None:
    published = "published:\n  - {table: stm_table3_imagenet, columns: {top1: {metric: accuracy}}}\n"
    mini = "mini:\n  seeds: [7]\n  analyses: [erf]\n"
    path = write(tmp_path, f"{HEAD}device: cuda\nanalyses: [profile]\n{published}{mini}")
    whole, small = read_experiment(path), read_experiment(path, mini=True)
    assert (whole.seeds, whole.analyses, whole.heading) == ((0,), (Step(name="profile", analysis="profile"),), "T")
    assert len(whole.published) == 1
    assert (small.seeds, small.analyses, small.heading) == ((7,), (Step(name="erf", analysis="erf"),), "T (miniature)")
    assert small.published == (), "a miniature is not what was published"
    assert small.device == "cuda", "what it does not replace it keeps"


def test_plugins_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "plugins: [own.py]\n", "b.yaml")
    path = write(tmp_path, f"{HEAD}include: sub/b.yaml\nmini:\n  plugins: [small.py]\n")
    assert plugins_of(path) == [tmp_path / "sub" / "own.py"]
    assert plugins_of(path, mini=True) == [tmp_path / "small.py"]
    assert plugins_of(write(tmp_path, HEAD)) == []
