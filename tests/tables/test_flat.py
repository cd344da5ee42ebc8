"""A row for each model, in timm's columns."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import stmbench as sb
from stmbench.analyses.erf.options import OURS
from stmbench.commands.export import app
from stmbench.errors import ConfigError
from stmbench.tables import Row, Store, flat, frame_of
from stmbench.tables.flat import OWN, TIMM, flat_table
from stmbench.tables.rows import csv_text
from tests.comparison.stores import DW, HALO, row

ERF: dict[str, Any] = {
    **{"analysis": "erf", "unit": "input_side"},
    **{"level": 50.0, "definition": "stmbench.magnitude.linear.v1"},
}


def answers(metric: str, *values: float, analysis: str = "eval", **more: Any) -> list[Row]:
    """One value for each training."""
    known: dict[str, Any] = {"dataset": "digits:ab", "unit": "1", "definition": f"{analysis}.v1", **more}
    return [
        row(analysis=analysis, metric=metric, value=value, weights=f"digits.e2.s{seed}:a{seed}", seed=seed, **known)
        for seed, value in enumerate(values)
    ]


def everything() -> list[Row]:
    counts = {"device": None, "dtype": None, "compile": None}
    return [
        row(metric="params", unit="count", value=2.5e6, **counts),
        row(metric="macs", unit="MAC", value=4e8, **counts),
        row(metric="activations", unit="count", value=3e6, **counts),
        row(metric="peak_memory", unit="bytes", value=50 * 2**20, batch_size=32),
        row(metric="throughput", unit="images/s", value=640.0, batch_size=32),
        row(metric="latency", unit="s", value=0.004, condition="p50", batch_size=1),
        row(metric="latency", unit="s", value=0.009, condition="p99", batch_size=1),
        row(metric="latency", unit="s", value=0.001, condition="p50", batch_size=1, dtype="bf16"),
        *answers("accuracy", 0.8, 0.9),
        *answers("accuracy_top5", 0.95, 0.97),
        row(metric="accuracy", analysis="eval", unit="1", value=0.1, dataset="digits:ab"),  # of random weights
        *answers("box_ap", 0.4, 0.42, analysis="detection"),
        *answers("knn_accuracy", 0.5, 0.7, analysis="probe", level=20.0),
        *answers("knn_accuracy", 0.5, analysis="probe", level=100.0),
        *answers("linear_accuracy", 0.75, analysis="probe", condition="sgd"),
        *answers(
            "consistency_auc",
            0.7,
            analysis="invariance_rotation",
            condition="before",
            definition="stmbench.zeros.v1",
        ),
        *answers("consistency_auc", 0.9, analysis="invariance_rotation", condition="before", definition="paper.v1"),
        *answers(
            "box_consistency_auc", 0.4, 0.5, analysis="box_consistency_scale", condition="threshold=0.1", level=2.0
        ),
        *answers("box_consistency", 0.3, analysis="box_consistency_scale", condition="threshold=0.1", level=2.0),
        *answers("accuracy", 0.85, analysis="robustness", level=0.0),
        *answers("accuracy", 0.25, analysis="robustness", level=0.5 / 255, definition="stmbench.fgsm.v1"),
        *answers("accuracy", 0.0, analysis="robustness", level=8 / 255, definition="stmbench.fgsm.v1"),
        *answers(
            "erf",
            0.2,
            analysis="erf",
            unit="input_side",
            level=50.0,
            stage=0,
            definition="stmbench.magnitude.linear.v1",
        ),
        *answers(
            "erf",
            0.6,
            analysis="erf",
            unit="input_side",
            level=50.0,
            stage=3,
            definition="stmbench.magnitude.linear.v1",
        ),
        *answers("erf", 0.9, analysis="erf", unit="input_side", level=50.0, stage=3, definition="paper.v1"),
        *answers(
            "erf",
            0.8,
            analysis="erf",
            unit="input_side",
            level=50.0,
            stage=3,
            definition="stmbench.rectified.linear.v1",
        ),
    ]


def test_units_and_names_are_timms() -> None:
    table = flat_table(frame_of(everything()))
    assert [*table.columns] == [
        *TIMM, *OWN, "knn_20_top1", "knn_100_top1", "fgsm_0p5_255_top1", "fgsm_8_255_top1"
    ]  # fmt: skip
    found = {name: value for name, value in table.iloc[0].to_dict().items() if not pd.isna(value)}
    assert found == pytest.approx(
        {
            "model": DW,
            "img_size": 32,
            "top1": 85.0,
            "top1_err": 15.0,
            "top5": 96.0,
            "top5_err": 4.0,
            "param_count": 2.5,
            "infer_samples_per_sec": 640.0,
            "infer_step_time": 50.0,
            "infer_batch_size": 32,
            "infer_img_size": 32,
            "infer_gmacs": 0.4,
            "infer_macts": 3.0,
            "dataset": "digits",
            "weights": "digits.e2.s0:a0 digits.e2.s1:a1",
            "seeds": 2,
            "infer_latency": 4.0,
            "infer_peak_memory": 50.0,
            "infer_device": "cpu",
            "infer_dtype": "fp32",
            "erf50": 0.6,
            "box_ap": 41.0,
            "linear_top1": 75.0,
            "knn_20_top1": 60.0,
            "knn_100_top1": 50.0,
            "rotation_consistency": 70.0,
            "box_scale_consistency": 45.0,
            "fgsm_0p5_255_top1": 25.0,
            "fgsm_8_255_top1": 0.0,
        }
    )


def test_sizes_and_data_sets_have_rows_of_their_own_and_models_without_values_too() -> None:
    wide = row(metric="throughput", unit="images/s", value=10.0, batch_size=2, resolution="32x64")
    shapes = answers("accuracy", 0.5, dataset="shapes:cd")
    failed = row(model=HALO, metric="throughput", unit="images/s", value=None, status="failed", reason="memory")
    table = flat_table(frame_of([*everything(), *shapes, wide, failed]))
    keys = table[["model", "img_size", "dataset"]].astype(object)
    assert keys.where(keys.notna(), None).to_numpy().tolist() == [
        [DW, 32, "digits"],
        [DW, 32, "shapes"],
        [DW, "32x64", None],
        [HALO, None, None],
    ]
    assert table["top1"].tolist()[:2] == pytest.approx([85.0, 50.0])
    assert table["infer_samples_per_sec"].tolist()[:3] == [640.0, 640.0, 10.0]


def test_random_weights_count_where_there_are_no_others() -> None:
    rows = [dataclasses.replace(one, weights="random:0") for one in answers("accuracy", 0.1)]
    assert flat_table(frame_of(rows))[["top1", "weights"]].to_numpy().tolist() == [[10.0, "random:0"]]


def test_the_command_and_the_function_write_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path / "s").require_writable()
    store.write("a", everything(), metadata={})
    flat = tmp_path / "results.csv"
    done = CliRunner().invoke(app, [str(store.folder), "--flat", str(flat)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"1 row written to {flat}" in done.stderr
    back = pd.read_csv(io.StringIO(flat.read_text()))
    assert (len(back), back["top1"][0]) == (1, 85.0)
    assert sb.export(store.folder, flat=tmp_path / "b.csv") == tmp_path / "b.csv"
    assert (tmp_path / "b.csv").read_text() == flat.read_text() == csv_text(flat_table(store.read()))
    assert sb.export(store.folder, tmp_path / "all.csv", flat=flat) == tmp_path / "all.csv"
    with pytest.raises(ConfigError, match="expected `out` or `flat`, got neither"):
        sb.export(store.folder)


def test_the_erf_of_one_number_is_the_one_that_is_shown() -> None:
    assert flat.ERF == OURS
