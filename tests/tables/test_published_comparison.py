"""Published values beside measured ones, on made-up tables."""

from __future__ import annotations

import dataclasses
import datetime
import math
from typing import Any

import pytest

from stmbench.errors import TableError
from stmbench.tables import Row, frame_of
from stmbench.tables.published_comparison import COLUMNS, PublishedValue, compare_with_published
from tests.tables.frames import WHEN, profile_frame

MODEL = "unified_halo_attn_micro"


def accuracy(value: float | None, **fields: Any) -> Row:
    known: dict[str, Any] = {
        "run_id": "20260314T092653-ab12",
        "created_utc": WHEN,
        "kind": "summary",
        "analysis": "eval",
        "definition": "eval.v1",
        "model": MODEL,
        "metric": "accuracy",
        "unit": "1",
        "value": value,
    }
    return Row(**{**known, **fields})


def line(metric: str = "accuracy", value: float = 0.75, **fields: Any) -> PublishedValue:
    return PublishedValue(**{"model": MODEL, "table": "t", "column": "c", "metric": metric, "value": value, **fields})


def test_costs_differ_by_a_share_and_accuracies_by_points() -> None:
    costs = compare_with_published(profile_frame(), [line("params", 4.4e6), line("throughput", 50.0)])
    assert tuple(costs.columns) == COLUMNS
    assert list(costs["measured"]) == pytest.approx([4.36e6, 61.0])
    assert list(costs["difference"]) == pytest.approx([4.36 / 4.4 - 1, 61 / 50 - 1])
    assert set(costs["difference_kind"]) == {"relative"}
    assert list(costs["unit"]) == ["count", "images/s"]
    found = compare_with_published(frame_of([accuracy(0.742)]), [line(label="U-HaloNet")]).iloc[0]
    assert found["difference"] == pytest.approx(-0.8)
    assert (found["difference_kind"], found["label"], found["published"]) == ("points", "U-HaloNet", 0.75)


def test_the_newest_good_summary_counts() -> None:
    later = WHEN + datetime.timedelta(hours=1)
    rows = [
        accuracy(0.9, created_utc=later, kind="raw"),
        accuracy(None, created_utc=later, status="failed", reason="out of memory"),
        accuracy(0.8, created_utc=later, weights="digits.e12.s0:1234"),
        accuracy(0.7),
        accuracy(0.6, created_utc=later, model="unified_halo_attn_micro[design=C]"),
    ]
    found = compare_with_published(frame_of(rows), [line()]).iloc[0]
    assert found["measured"] == 0.8
    assert found["weights"] == "digits.e12.s0:1234"


def test_of_several_seeds_the_mean_counts() -> None:
    later = WHEN + datetime.timedelta(hours=1)
    rows = [
        accuracy(0.1, weights="digits.e1.s0:0a"),  # another recipe
        accuracy(0.2, weights="digits.e12.s0:0b"),  # trained again since
        accuracy(0.7, weights="digits.e12.s0:1a", created_utc=later, ci_low=0.6, ci_high=0.8),
        accuracy(0.3, weights="digits.e12.s3:4a", created_utc=later, resolution=64),
        accuracy(0.9, weights="digits.e12.s1:2a", created_utc=later, ci_low=0.8, ci_high=0.95),
        accuracy(0.8, weights="digits.e12.s2:3a", created_utc=later, ci_low=0.7, ci_high=0.9),
    ]
    found = compare_with_published(frame_of(rows), [line()]).iloc[0]
    assert found["measured"] == pytest.approx(0.8)
    assert (found["runs"], found["deviation"]) == (3, pytest.approx(0.1))
    assert math.isnan(found["ci_low"])
    alone = compare_with_published(frame_of(rows[:3]), [line()]).iloc[0]
    assert (alone["measured"], alone["runs"], alone["ci_low"]) == (0.7, 1, 0.6)


@pytest.mark.parametrize(
    ("conditions", "measured"),
    [
        ({}, 0.8),  # a condition that is left out is null: neither the share's row nor the attack's
        ({"condition": None}, 0.8),
        ({"condition": "data_fraction=0.1"}, 0.5),
        ({"condition": "fgsm", "level": 0.03}, 0.2),
        ({"condition": "fgsm"}, math.nan),
        ({"analysis": "train"}, math.nan),
        ({"resolution": 224}, 0.8),
        ({"resolution": None}, math.nan),
    ],
)
def test_conditions(conditions: dict[str, Any], measured: float) -> None:
    rows = [
        accuracy(0.8, resolution=224),
        accuracy(0.5, condition="data_fraction=0.1", resolution=224),
        accuracy(0.2, condition="fgsm", level=0.03, resolution=224),
    ]
    found = compare_with_published(frame_of(rows), [line(conditions=conditions)]).iloc[0]
    assert found["measured"] == pytest.approx(measured, nan_ok=True)


def test_what_was_not_measured_stays_in_the_list() -> None:
    found = compare_with_published(frame_of([accuracy(0.8)]), [line(), line(model="timm:resnet50")])
    assert list(found["model"]) == [MODEL, "timm:resnet50"]
    assert list(found["label"]) == [MODEL, "timm:resnet50"]
    assert found.loc[1, ["measured", "difference"]].isna().all()
    assert found.loc[1, "published"] == 0.75
    assert compare_with_published(frame_of([]), [line()])["measured"].isna().all()
    assert list(compare_with_published(frame_of([]), []).columns) == list(COLUMNS)


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(TableError, match="'side'"):
        compare_with_published(frame_of([accuracy(0.8)]), [dataclasses.replace(line(), conditions={"side": 224})])
