from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stmbench.analyses.unit import Unit

UNIT = Unit(
    analysis="profile",
    definition="profile.v1",
    task="rounds",
    models=("a", "b"),
    weights=("random:0", "random:0"),
    conditions={"dtype": "fp32", "resolution": (224, 224)},
    seed=0,
    machine="m",
    plugins={"mine": "abc"},
    packages={"torch": "2"},
)
CHANGES: list[dict[str, Any]] = [
    {"analysis": "erf"},
    {"definition": "profile.v2"},
    {"task": "costs"},
    {"models": ("b", "a")},
    {"weights": ("random:1", "random:0")},
    {"conditions": {"dtype": "bf16", "resolution": (224, 224)}},
    {"seed": 1},
    {"machine": "n"},
    {"machine": None},
    {"plugins": {"mine": "abd"}},
    {"packages": {"torch": "3"}},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_all_that_the_result_depends_on_is_in_the_key(change: dict[str, Any]) -> None:
    assert dataclasses.replace(UNIT, **change).key != UNIT.key


def test_what_it_does_not_depend_on_is_not() -> None:
    assert dataclasses.replace(UNIT, series="s", derived=True).key == UNIT.key
    reordered = dataclasses.replace(UNIT, conditions={"resolution": [224, 224], "dtype": "fp32"})
    assert reordered.key == UNIT.key


def test_units_of_a_series_are_one_group() -> None:
    assert UNIT.group == UNIT.key
    assert dataclasses.replace(UNIT, series="s").group == "s"
