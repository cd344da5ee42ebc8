"""Training curves: seeds as a band, last values at the ends, no curve hidden behind another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from stmbench.analyses.train.figures import curves_of, left_out, training_figures
from stmbench.analyses.train.section import training_section
from stmbench.tables import Row, frame_of
from tests.tables.frames import WHEN, with_attrs


def run(mixer: str, accuracies: Sequence[float], *, seed: int = 0) -> list[Row]:
    known: dict[str, Any] = {
        "run_id": "r", "created_utc": WHEN, "kind": "raw", "analysis": "train", "definition": "train.v1",
        "architecture": "unified", "scale": "nano", "dataset": "digits:abc", "seed": seed, "unit": "1",
        "model": f"unified_{mixer}_nano", "mixer": mixer, "weights": f"digits.e3.s{seed}:{seed}1ab",
    }  # fmt: skip
    return [
        Row(**known, metric=metric, sample=epoch, value=value if metric == "accuracy" else 1 - value / 2)
        for epoch, value in enumerate(accuracies)
        for metric in ("train_loss", "accuracy")
    ]


def table(*runs: list[Row]) -> pd.DataFrame:
    return with_attrs(frame_of([row for rows in runs for row in rows]))


def test_seeds_are_a_mean_with_a_band_and_the_last_value_stands_at_the_end() -> None:
    frame = table(
        run("dw_conv", (0.2, 0.5, 0.9)), run("dw_conv", (0.4, 0.6, 0.8), seed=1), run("sr_attn", (0.1, 0.2, 0.3))
    )
    (figure,) = training_figures(frame).values()
    figure.canvas.draw()
    axes = figure.axes[1]
    assert [list(line.get_ydata()) for line in axes.lines] == [pytest.approx([30, 55, 85]), pytest.approx([10, 20, 30])]
    (band,) = axes.collections
    assert (band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()) == pytest.approx(
        (20, 90)
    )
    assert {text.get_text() for text in axes.texts} - {""} == {"85.0  DW-Conv", "30.0  SR-Attn"}
    assert {text.get_text() for text in figure.axes[0].texts} - {""} == {"0.575", "0.85"}
    assert "2 seeds" in figure.get_supxlabel()
    assert axes.get_ylim()[1] < 100


def test_curves_on_each_other_take_turns() -> None:
    equal = (0.2, 0.5, 0.9)
    frame = table(run("dw_conv", equal), run("sr_attn", equal), run("sw_attn", (0.2, 0.5, 0.5)))
    (figure,) = training_figures(frame).values()
    first, second, third = figure.axes[1].lines
    offsets = [line._unscaled_dash_pattern for line in (first, second)]  # type: ignore[attr-defined]
    assert offsets == [(0.0, (4.0, 4.0)), (4.0, (4.0, 4.0))]  # one has dashes where the other has none
    assert third._unscaled_dash_pattern != offsets[0]  # type: ignore[attr-defined]
    assert first.get_markevery() != second.get_markevery()


def test_runs_of_different_lengths_are_joined_where_both_are() -> None:
    frame = table(run("dw_conv", (0.2, 0.5, 0.9)), run("dw_conv", (0.4, 0.6), seed=1))
    (curve,) = curves_of(frame, "accuracy")
    assert curve.epochs == (1, 2)
    assert curve.value == pytest.approx((30, 55))


def test_losses_of_labels_and_of_self_distillation_are_not_drawn_together() -> None:
    distilled = [
        dataclasses.replace(
            row, weights="digits.dino.e3.s0:2ab", metric=row.metric if row.metric == "train_loss" else "knn_accuracy"
        )
        for row in run("dw_conv", (0.3, 0.6))
    ]
    found = training_figures(table(run("dw_conv", (0.2, 0.5, 0.9)), distilled))
    titles = {name: [axes.get_title(loc="left") for axes in figure.axes] for name, figure in found.items()}
    assert titles == {
        "training_curves": ["training loss", "top-1 accuracy, %"],
        "self_distillation_curves": ["training loss", "kNN accuracy, %"],
    }
    assert list(training_figures(table(distilled))) == ["training_curves"]


def test_one_epoch_is_no_curve_and_the_section_says_so() -> None:
    frame = table(run("dw_conv", (0.2,)))
    assert training_figures(frame) == {}
    assert any("No figure of training curves" in caveat.text for caveat in training_section(frame, frame).caveats)
    assert left_out(table(run("dw_conv", (0.2, 0.3)))) == []
