"""The figure and the terminal's table of an evaluation."""

from __future__ import annotations

import dataclasses
import io
import warnings
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from stmbench.analyses.eval.figures import accuracy, evaluation_figures, left_out
from stmbench.analyses.eval.section import evaluation_section
from stmbench.analyses.eval.terminal import evaluation_table
from stmbench.errors import TableError
from stmbench.figures import save
from stmbench.tables import Row, frame_of
from tests.tables.frames import MIXERS, WHEN, failed_row, profile_frame, with_attrs

VALUES = {"accuracy": 0.8, "accuracy_top5": 0.95, "calibration_error": 0.03, "nll": 0.7, "brier": 0.3}


def rows(mixer: str, *, factor: float = 1.0, **changes: object) -> list[Row]:
    known = {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": "eval", "definition": "eval.v1",
        "model": f"unified_{mixer}_micro", "architecture": "unified", "mixer": mixer, "scale": "micro",
        "weights": "random:0", "seed": 0, "dataset": "digits:123", "split": "test", "num_images": 355,
        "device": "cpu", "dtype": "fp32", "resolution": 224, "unit": "1", "num_samples": 355, **changes,
    }  # fmt: skip
    return [
        Row(**known, metric=metric, value=factor * value, ci_low=0.9 * factor * value, ci_high=1.1 * factor * value)
        for metric, value in VALUES.items()
    ]


def five(**changes: object) -> list[Row]:
    return [row for place, mixer in enumerate(MIXERS) for row in rows(mixer, factor=0.9**place, **changes)]


def table(frame: pd.DataFrame, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(evaluation_table(frame))
    return console.file.getvalue().splitlines()


def test_best_first_with_intervals_and_untrained_models_said(tmp_path: Path) -> None:
    trained = rows("dcnv3", factor=1.1, weights="mine.pth:0123456789ab", model="unified_dcnv3_tiny", scale="tiny")
    frame = with_attrs(frame_of([*rows("dw_conv", factor=0.5), *trained]))
    figure = accuracy(frame)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["DCNv3 tiny", "DW-Conv micro (random init)"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = save(figure, tmp_path / "accuracy")
    assert all(path.stat().st_size > 1000 for path in paths)
    assert "digits" in paths[0].read_text()
    whiskers = sorted(float(line.get_xdata()[0]) for line in figure.axes[0].lines if line.get_marker() == "|")
    assert whiskers == pytest.approx([36, 44, 79.2, 96.8])


def test_only_evaluations_are_drawn() -> None:
    assert evaluation_figures(profile_frame()) == {}
    assert list(evaluation_figures(with_attrs(frame_of(five())))) == ["accuracy"]


def test_marks_at_100_per_cent_are_whole_and_the_axis_fits() -> None:
    perfect = [row for mixer in MIXERS for row in rows(mixer, factor=1 / 0.8)]
    bounded = [dataclasses.replace(row, ci_low=0.98, ci_high=1.0) for row in perfect if row.metric == "accuracy"]
    (axes,) = accuracy(with_attrs(frame_of(bounded))).axes
    low, high = axes.get_xlim()
    assert 97 < low < 98
    assert high - 100 > 0.05 * (100 - low)  # half a mark's width
    assert max(axes.get_xticks()) == 100


def test_differences_to_the_control_stand_beside_and_seeds_are_joined() -> None:
    weights = [f"digits.e2.s{seed}:{seed}ab" for seed in range(2)]
    both = [row for seed, label in enumerate(weights) for row in rows("dw_conv", factor=1 - 0.1 * seed, weights=label)]
    control = rows("identity", weights=weights[0])
    pairs = [
        dataclasses.replace(row, metric="accuracy_difference", baseline="unified_identity_micro", value=-0.04,
                            ci_low=-0.06, ci_high=-0.01)
        for row in both if row.metric == "accuracy"
    ]  # fmt: skip
    figure = accuracy(with_attrs(frame_of([*both, *control, *pairs])))
    first, second, _ = figure.axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["identity", "DW-Conv"]
    small = [float(line.get_xdata()[0]) for line in first.lines if line.get_markersize() == 4]
    large = [float(line.get_xdata()[0]) for line in first.lines if line.get_markersize() == 7]
    assert small == pytest.approx([80, 72])
    assert large == pytest.approx([80, 76])
    assert "difference to identity" in second.get_xlabel()
    assert [float(line.get_xdata()[0]) for line in second.lines if line.get_markersize() == 7] == pytest.approx([-4])


def test_one_model_is_one_point_and_the_section_says_so() -> None:
    frame = with_attrs(frame_of(rows("dw_conv")))
    assert evaluation_figures(frame) == {}
    assert any("No figure of accuracy" in caveat.text for caveat in evaluation_section(frame, frame).caveats)
    assert left_out(with_attrs(frame_of(five()))) == []


def test_a_table_of_five_fits_80_columns() -> None:
    lines = table(with_attrs(frame_of(five())))
    assert max(map(len, lines)) <= 80
    place = next(index for index, line in enumerate(lines) if line.startswith("Halo-Attn"))
    assert lines[place].split() == ["Halo-Attn", "80.0", "95.0", "3.0", "0.700", "0.300"]
    assert lines[place + 1].split() == [
        "random",
        "init",
        "72.0–88.0",
        "85.5–104.5",
        "2.7–3.3",
        "0.630–0.770",
        "0.270–0.330",
    ]
    assert lines[-1].rstrip() == "digits · test · 224 px · fp32 · cpu · 355 images · 95 % intervals"


def test_one_model_with_two_kinds_of_weights_and_counts() -> None:
    two = [*rows("dw_conv"), *rows("dw_conv", weights="mine.pth:01", num_images=350)]
    text = "\n".join(table(with_attrs(frame_of(two)), width=120))
    assert "DW-Conv · random:0" in text
    assert "random init · 355 images" in text
    assert "DW-Conv · mine.pth:01" in text
    assert "mine.pth:01 · 350 images" in text


def test_a_model_that_failed_is_not_in_the_table() -> None:
    failed = dataclasses.replace(failed_row(), analysis="eval", metric="accuracy", unit="1")
    text = "\n".join(table(with_attrs(frame_of([*rows("dw_conv"), failed]))))
    assert "DW-Conv" in text
    assert "dcnv3" not in text


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(TableError, match="rows of the analysis 'eval'"):
        evaluation_table(profile_frame())
