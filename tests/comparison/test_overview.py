"""All models against one: which one it is, and what is compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stmbench.comparison.overview import baseline_of, overview
from stmbench.errors import UnknownNameError
from stmbench.tables import Row, frame_of
from tests.comparison.stores import DW, HALO, costs, evaluation, row

IDENTITY = "unified_identity_nano"


def of_mixers(rows: list[Row]) -> list[Row]:
    return [dataclasses.replace(one, mixer=str(one.model).split("_", 1)[1].rpartition("_")[0]) for one in rows]


THREE = [*costs(HALO), *costs(DW, params=9e5), *costs(IDENTITY, params=8e5)]


def _ratio(model: str, baseline: str) -> Row:
    return row(model=model, baseline=baseline, metric="throughput_ratio", unit="1", value=1.2)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (THREE, IDENTITY),
        (THREE[:6], HALO),
        ([*THREE, _ratio(HALO, DW)], DW),
        ([*THREE, _ratio(HALO, DW), _ratio(DW, HALO)], IDENTITY),
    ],
    ids=["the control", "the first", "what the rows name", "of several that rows name the control"],
)
def test_the_baseline(rows: list[Row], expected: str) -> None:
    assert baseline_of(frame_of(of_mixers(rows))) == expected


def test_every_other_model_is_compared_with_it() -> None:
    found = overview(frame_of(of_mixers(THREE)), Path(), "dw_conv")
    assert found is not None
    assert (found.baseline, [*found.findings]) == (DW, [HALO, IDENTITY])
    words = {model: [(one.metric, one.word) for one in items] for model, items in found.findings.items()}
    assert words[IDENTITY] == [("params", "better"), ("macs", "the same")]
    assert words[HALO] == [("params", "worse"), ("macs", "the same")]


@pytest.mark.parametrize("size", ["64", "64x96"])
def test_a_quantity_in_two_settings_stands_once_in_the_setting_of_most(size: str) -> None:
    large = [dataclasses.replace(one, resolution=size, value=3e6) for one in costs(DW) + costs(HALO)]
    found = overview(frame_of(of_mixers([*large, *THREE])), Path(), HALO)
    assert found is not None
    assert [(one.metric, one.conditions) for one in found.findings[DW]] == [("params", "32 px"), ("macs", "32 px")]
    (params, _) = overview(frame_of(of_mixers(large)), Path(), HALO).findings[DW]  # type: ignore[union-attr]
    assert params.conditions == f"{size} px"


def test_one_model_has_no_overview_and_an_unknown_baseline_is_refused() -> None:
    frame = frame_of(of_mixers(costs(DW)))
    assert overview(frame, Path()) is None
    with pytest.raises(UnknownNameError, match="expected a model of the store, got 'haloo'"):
        overview(frame, Path(), "haloo")


@pytest.mark.parametrize(("weights", "metrics"), [("random:0", []), ("digits.e2.s0:ab", ["accuracy"])])
def test_accuracies_of_random_weights_are_not_compared(tmp_path: Path, weights: str, metrics: list[str]) -> None:
    rows = [dataclasses.replace(one, weights=weights) for one in evaluation(tmp_path, [1, 0, 1, 1] * 5)]
    other = [dataclasses.replace(one, model=HALO) for one in rows]
    found = overview(frame_of(of_mixers([*rows, *other])), tmp_path, DW)
    assert found is not None
    assert [one.metric for one in found.findings[HALO]] == metrics
