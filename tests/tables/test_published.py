"""The papers' tables, and measured values compared with them."""

from __future__ import annotations

import dataclasses
import datetime
import math
from pathlib import Path
from typing import Any

import pytest

from stmbench.errors import TableError, UnknownNameError
from stmbench.tables import Row, frame_of
from stmbench.tables import published as module
from stmbench.tables.published import (
    COLUMNS,
    PublishedValue,
    compare_with_published,
    compare_with_table3,
    published,
    published_names,
)
from tests.tables.frames import WHEN, failed_row, profile_frame, profile_rows


@pytest.mark.parametrize("name", published_names())
def test_every_table_has_rows_and_names_its_source(name: str) -> None:
    table = published(name)
    assert table.size >= 10
    assert any(paper in table.attrs["source"] for paper in ("Hu et al.", "Gao et al.", "Li et al."))
    assert "Table" in table.attrs["source"]
    assert not table.columns.duplicated().any()


def test_table_three_has_every_mixer_at_every_scale() -> None:
    table = published("stm_table3_imagenet")
    assert len(published_names()) == 17
    assert len(table.groupby(["mixer", "scale"])) == len(table) == 20


def test_unknown_table_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean stm_table3_imagenet"):
        published("stm_table3_imagnet")


def test_a_table_without_its_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bundled", lambda kind: tmp_path)
    monkeypatch.setattr(module, "published_names", lambda: ["a"])
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(TableError, match="a first line that starts with"):
        published("a")


def test_comparison_joins_in_base_units() -> None:
    table = compare_with_table3(profile_frame(), published("stm_table3_imagenet"))
    assert list(table.columns) == ["mixer", "scale", "metric", "unit", "measured", "published", "difference"]
    assert len(table) == 10
    row = table[(table["mixer"] == "halo_attn") & (table["metric"] == "params")].iloc[0]
    assert row["measured"] == pytest.approx(4.36e6)
    assert row["published"] == pytest.approx(4.4e6)
    assert row["difference"] == pytest.approx(4.36 / 4.4 - 1)
    assert set(table["unit"]) == {"count", "MAC"}


def test_comparison_leaves_out_what_the_paper_did_not_count() -> None:
    def changed(**fields: object) -> list:
        return [dataclasses.replace(row, **fields) for row in profile_rows(["dw_conv"]) if row.metric == "params"]

    table3 = published("stm_table3_imagenet")
    stage = changed(stage=0)
    options = changed(model="unified_dw_conv_micro[design=C]")
    for rows in (stage, options, changed(scale="nano", model="unified_dw_conv_nano"), [failed_row()]):
        with pytest.raises(TableError, match="Table III"):
            compare_with_table3(frame_of(rows), table3)
    macs = [row for row in profile_rows(["dw_conv"]) if row.metric == "macs_published_convention"]
    with pytest.raises(TableError, match="Table III"):
        compare_with_table3(frame_of([dataclasses.replace(row, resolution=256) for row in macs]), table3)


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
    row = compare_with_published(frame_of([accuracy(0.742)]), [line(label="U-HaloNet")]).iloc[0]
    assert row["difference"] == pytest.approx(-0.8)
    assert (row["difference_kind"], row["label"], row["published"]) == ("points", "U-HaloNet", 0.75)


def test_the_newest_good_summary_counts() -> None:
    later = WHEN + datetime.timedelta(hours=1)
    rows = [
        accuracy(0.9, created_utc=later, kind="raw"),
        accuracy(None, created_utc=later, status="failed", reason="out of memory"),
        accuracy(0.8, created_utc=later, weights="digits.e12.s0:1234"),
        accuracy(0.7),
        accuracy(0.6, created_utc=later, model="unified_halo_attn_micro[design=C]"),
    ]
    row = compare_with_published(frame_of(rows), [line()]).iloc[0]
    assert row["measured"] == 0.8
    assert row["weights"] == "digits.e12.s0:1234"


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
    row = compare_with_published(frame_of(rows), [line()]).iloc[0]
    assert row["measured"] == pytest.approx(0.8)
    assert (row["runs"], row["deviation"]) == (3, pytest.approx(0.1))
    assert math.isnan(row["ci_low"])
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
    row = compare_with_published(frame_of(rows), [line(conditions=conditions)]).iloc[0]
    assert row["measured"] == pytest.approx(measured, nan_ok=True)


def test_what_was_not_measured_stays_in_the_list() -> None:
    table = compare_with_published(frame_of([accuracy(0.8)]), [line(), line(model="timm:resnet50")])
    assert list(table["model"]) == [MODEL, "timm:resnet50"]
    assert list(table["label"]) == [MODEL, "timm:resnet50"]
    assert table.loc[1, ["measured", "difference"]].isna().all()
    assert table.loc[1, "published"] == 0.75
    assert compare_with_published(frame_of([]), [line()])["measured"].isna().all()
    assert list(compare_with_published(frame_of([]), []).columns) == list(COLUMNS)


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(TableError, match="'side'"):
        compare_with_published(frame_of([accuracy(0.8)]), [dataclasses.replace(line(), conditions={"side": 224})])


@pytest.mark.parametrize(
    ("epoch", "measured", "runs"),
    [(2, 0.55, 2), (4, 0.7, 1), (3, math.nan, math.nan)],  # the last weights are those of epoch 4, too
)
def test_weights_of_an_epoch_are_selected_and_joined_over_seeds(epoch: int, measured: float, runs: float) -> None:
    later = WHEN + datetime.timedelta(hours=1)
    rows = [
        accuracy(0.5, metric="knn_accuracy", weights="digits.dino.e4.s0.epoch2:1a"),
        accuracy(0.6, metric="knn_accuracy", weights="digits.dino.e4.s1.epoch2:2a"),
        accuracy(0.8, metric="knn_accuracy", weights="digits.dino.e4.s0.epoch4:3a"),
        accuracy(0.7, metric="knn_accuracy", weights="digits.dino.e4.s0:3a", created_utc=later),
        accuracy(0.1, metric="knn_accuracy", weights="random:0", created_utc=later),
        accuracy(0.2, metric="knn_accuracy", created_utc=later),
    ]
    row = compare_with_published(frame_of(rows), [line("knn_accuracy", conditions={"epoch": epoch})]).iloc[0]
    assert [row["measured"], row["runs"]] == pytest.approx([measured, runs], nan_ok=True)
    assert row["difference_kind"] == "points"
    assert row["difference"] == pytest.approx(100 * (measured - 0.75), nan_ok=True)
