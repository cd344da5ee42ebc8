"""`train`: its options, and its weights in the other functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import stmbench as sb
from stmbench.errors import InputError
from stmbench.tables import read
from tests.api.networks import Small, given_small

MODEL = "unified_identity_nano"
FEW: dict[str, Any] = {"epochs": 1, "data_fraction": 0.03, "batch_size": 16, "progress": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sb.train(MODEL, seeds=(0, 1), set={"mixup": 0}, out=tmp_path_factory.mktemp("train"), **FEW)


def test_checkpoints_are_weights_of_the_other_functions(trained: Any) -> None:
    assert list(trained.checkpoints) == [MODEL]
    assert list(trained.weights[MODEL]) == [0, 1]
    rows = trained.table[(trained.table["metric"] == "accuracy") & (trained.table["kind"] == "summary")]
    expected = rows[rows["seed"] == 0]["value"].item()
    result = sb.eval(MODEL, images="digits", checkpoint=trained.checkpoints, progress=False)
    found = result.table[(result.table["metric"] == "accuracy") & (result.table["kind"] == "summary")]
    assert found["value"].item() == expected
    assert not any("untrained" in line for line in result.warnings)


def test_a_second_call_takes_what_the_store_has(trained: Any) -> None:
    again = sb.train(MODEL, seeds=(0, 1), set="mixup=0", out=trained.store, **FEW)
    assert (again.measured, again.reused) == (0, 2)
    assert again.checkpoints == trained.checkpoints
    assert len(read(trained.store)) == len(trained.table)


def test_a_module_given_as_an_object_is_trained_from_its_weights(tmp_path: Path) -> None:
    given = given_small()
    before = {name: value.clone() for name, value in given.module.state_dict().items()}
    result = sb.train(given, out=tmp_path, set={"lr": 0.01}, **FEW)
    (model,) = result.checkpoints
    rows = result.table[(result.table["metric"] == "accuracy") & (result.table["kind"] == "summary")]
    again = sb.eval(given, images="digits", checkpoint=result.checkpoints, progress=False)
    accuracy = again.table[(again.table["metric"] == "accuracy") & (again.table["kind"] == "summary")]
    assert accuracy["value"].item() == rows["value"].item()
    assert f"{model}: trained from the weights it was given, whatever the seed" in result.warnings
    assert all(value.equal(given.module.state_dict()[name]) for name, value in before.items())
    learned = load_file(result.checkpoints[model])
    steps = rows["step"].item()
    assert 0 < (learned["fc.bias"] - before["fc.bias"]).abs().max() <= 0.02 * steps  # of one Adam step at most lr


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        (Small(7), {}, "a data set with the model's 7 classes, got 10 in digits; give a module with 10 outputs"),
        (Small(), {"set": {"drop_path": 0.1}}, "no drop_path for a module, which has its own, got drop_path=0.1"),
        (Small(), {"set": {"dropout": 0.1}}, "a model with get_classifier(), for dropout"),
    ],
)
def test_a_module_that_does_not_fit_is_refused(module: Small, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sb.train(sb.GivenModel(module=module, input_size=32), **FEW, **options)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epoch": 3}, "an option of train(), got 'epoch'; did you mean epochs?"),
        ({"set": {"mixpu": 0}}, "a field of a recipe, got 'mixpu'; did you mean mixup"),
        ({"set": "mixup"}, "write `set` mixup=0"),
        ({"seeds": (1, 1)}, "each seed once, got '1,1'; change `seeds`"),
        ({"epochs": 0}, "epochs from 1 to 1000000, got 0; change `epochs`"),
        ({"recipe": "stn"}, "a recipe, got 'stn'; did you mean stm"),
    ],
)
def test_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sb.train(MODEL, **{**FEW, **options})
    assert said in str(caught.value)
