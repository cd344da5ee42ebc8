"""`train`: its options, and its weights in the other functions."""

from __future__ import annotations

from typing import Any

import pytest

import stmbench as sb
from stmbench.errors import InputError
from stmbench.tables import read

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
