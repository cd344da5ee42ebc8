"""Texts of the columns `resolution` and `weights`."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from stmbench.errors import TableError
from stmbench.tables.labels import (
    are_random,
    is_random,
    random_label,
    recipe_and_seed,
    run_and_epoch,
    run_label,
    square_side,
    weights_text,
)
from stmbench.tables.rows import display, number
from tests.tables.frames import profile_rows


@pytest.mark.parametrize(
    ("metric", "values", "unit", "text"),
    [
        ("macs", [3.27e6], "MMACs", "3.27"),
        ("macs", [3.27e6, 9.9e7], "MMACs", "3.27"),
        ("macs", [3.27e6, 1.2e8], "GMACs", "0.00327"),
        ("macs", [0.0], "GMACs", "0.000"),
        ("params", [45_300.0], "k", "45.3"),
        ("params", [245_300.0], "M", "0.25"),
        ("latency", [5.04e-5, math.nan], "µs", "50.4"),
        ("peak_memory", [3 * 2.0**20], "MiB", "3"),
        ("achieved_macs_per_second", [2.5e7], "MMAC/s", "25.0"),
        ("accuracy", [0.0004], "%", "0.04"),
    ],
)
def test_small_values_are_shown_in_the_next_smaller_unit(
    metric: str, values: list[float], unit: str, text: str
) -> None:
    shown = display(metric, values=values)
    assert (shown.unit, number(values[0], metric, shown)) == (unit, text)


ROW = profile_rows(["dw_conv"])[0]


@pytest.mark.parametrize(
    ("label", "random", "words", "parts"),
    [
        (random_label(3), True, "random init", ("random:", "3")),
        ("digits.e12.s0:1a2b", False, "digits.e12.s0:1a2b", ("digits.e12", "0")),
        ("digits.0.1.e12.s10:1a2b", False, "digits.0.1.e12.s10:1a2b", ("digits.0.1.e12", "10")),
        ("digits.e12.s0+resized:1a2b", False, "digits.e12.s0+resized:1a2b", ("digits.e12+resized", "0")),
        ("weights.s1.pth:1a2b", False, "weights.s1.pth:1a2b", ("weights.s1.pth:1a2b", "")),
        (None, False, "None", ("", "")),
        (pd.NA, False, "<NA>", ("", "")),
    ],
)
def test_a_label(label: object, random: bool, words: str, parts: tuple[str, str]) -> None:
    assert is_random(label) is random
    assert weights_text(label) == words
    assert recipe_and_seed(label) == parts


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("shapes.dino.e10.s0.epoch4:1a2b", ("shapes.dino.e10.s0:", 4)),
        ("shapes.dino.e10.s0:1a2b", ("shapes.dino.e10.s0:", 10)),
        ("digits.0.1.e12.s10.epoch3+resized:1a2b", ("digits.0.1.e12.s10+resized:", 3)),
        ("digits.e12.s0#teacher:1a2b", ("digits.e12.s0#teacher:", 12)),
        ("digits.s0:1a2b", None),
        ("weights.epoch4.pth:1a2b", None),
        (random_label(3), None),
        (pd.NA, None),
    ],
)
def test_weights_of_one_run_by_epoch(label: object, found: tuple[str, int] | None) -> None:
    assert run_and_epoch(label) == found


def test_a_column() -> None:
    column = pd.Series(["random:0", None, "digits.e12.s0:1a2b"], dtype="string")
    assert are_random(column).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("given", "held"), [(224, "224"), (np.int64(224), "224"), ((32, 64), "32x64"), ((7, 7), "7"), ("32x64", "32x64")]
)
def test_a_row_holds_height_x_width_as_text(given: object, held: str) -> None:
    assert dataclasses.replace(ROW, resolution=given).resolution == held


@pytest.mark.parametrize("words", ["large", "224x", "3x32x64", ""])
def test_text_that_is_no_size_are_refused(words: str) -> None:
    with pytest.raises(TableError, match="expected resolution as 224 or 32x64, got"):
        dataclasses.replace(ROW, resolution=words)


def test_the_side_of_a_square() -> None:
    assert (square_side("224"), square_side("32x64")) == (224, None)


def test_counts_have_no_decimals() -> None:
    assert number(1_625_482.0, "elements_moved") == "1,625,482"
    assert number(0.0, "dropped_rounds") == "0"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("a.dino.e6.s0.epoch6:1a2b", "a.dino.e6.s0:1a2b"),
        ("a.dino.e6.s0.epoch4:1a2b", "a.dino.e6.epoch4.s0:1a2b"),
        ("a.dino.e6.s0:1a2b", "a.dino.e6.s0:1a2b"),
        ("random:3", "random:3"),
        ("weights.pth:1a2b", "weights.pth:1a2b"),
    ],
)
def test_an_epochs_label_is_like_a_runs(label: str, expected: str) -> None:
    assert run_label(label) == expected
