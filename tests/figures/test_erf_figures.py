"""Heat maps and sizes of receptive fields, as pure functions of a table and the maps beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from stmbench.analyses.erf.figures.maps import read_maps
from stmbench.analyses.erf.figures.plots import erf_figures
from stmbench.analyses.erf.terminal import erf_table
from stmbench.tables import Row, frame_of
from tests.tables.frames import WHEN

OURS = "stmbench.magnitude.linear.v1"


def _table(folder: Path, *, side: int = 64, models: int = 2, trained: bool = False) -> pd.DataFrame:
    rows = []
    for number in range(models):
        name, mixer = [("unified_sw_attn_nano", "sw_attn"), ("unified_dw_conv_nano", "dw_conv")][number]
        arrays: dict[str, Any] = {}
        for stage in range(2):
            arrays[f"magnitude_{stage}"] = np.ones((side, side), np.float32)
            arrays[f"rectified_{stage}"] = np.zeros((side, side), np.float32)
            arrays[f"centre_{stage}"] = np.array([20.0 + stage, 30.5])
        (folder / "parts").mkdir(exist_ok=True)
        np.savez(folder / "parts" / f"{number}.npz", **arrays)
        known: dict[str, Any] = {
            "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": "erf", "model": name, "mixer": mixer,
            "scale": "nano", "architecture": "unified", "seed": 0, "weights": "mine.pth:01" if trained else "random:0",
            "dataset": "digits:abc", "num_images": 10, "resolution": side, "metric": "erf", "unit": "input_side",
            "level": 50.0, "artifact": f"parts/{number}.npz", "status": "ok", "dtype": "fp32", "device": "cpu",
        }  # fmt: skip
        for stage in range(2):
            for definition in (OURS, "paper.v1"):
                value = 0.25 * (stage + 1)
                rows.append(Row(**known, stage=stage, definition=definition, value=value,
                                ci_low=value - 0.05, ci_high=value + 0.05, num_samples=10))  # fmt: skip
        rows.append(Row(**{**known, "analysis": "eval", "metric": "accuracy", "unit": "1", "level": None,
                           "artifact": None, "definition": "eval.v1"}, value=0.5 + number / 10))  # fmt: skip
    return frame_of(rows)


def test_a_panel_for_each_stage_with_the_square_where_the_unit_is(tmp_path: Path) -> None:
    figure = erf_figures(_table(tmp_path), OURS, tmp_path)["erf"]
    assert len(figure.axes) == 4 + 1  # and the colour bar
    assert figure.axes[-1].get_yticklabels()[-1].get_text() == "100 %"
    assert figure.axes[-1].get_position().x1 > 0.9, "panels fill the width"
    squares = [next(p for p in axes.patches if isinstance(p, Rectangle)) for axes in figure.axes[:4]]
    x, y, side = squares[0].get_x(), squares[0].get_y(), squares[0].get_width()
    assert (y + side / 2, x + side / 2, side) == pytest.approx((20.0, 30.5, 16.0))
    words = " ".join(text.get_text() for text in figure.texts)
    assert "random init" in words
    assert OURS in words


def test_definitions_about_the_image_have_their_square_there(tmp_path: Path) -> None:
    maps = read_maps(_table(tmp_path), "paper.v1", tmp_path)
    assert {item.centre for item in maps} == {(32.0, 32.0)}


def test_trained_models_are_not_called_random(tmp_path: Path) -> None:
    figure = erf_figures(_table(tmp_path, trained=True), OURS, tmp_path)["erf"]
    assert "random init" not in " ".join(text.get_text() for text in figure.texts)


def test_size_against_accuracy_where_both_are_known(tmp_path: Path) -> None:
    assert set(erf_figures(_table(tmp_path), OURS, tmp_path)) == {"erf"}, "random weights join nothing"
    table = _table(tmp_path, trained=True)
    figures = erf_figures(table, OURS, tmp_path)
    (axes,) = figures["erf_accuracy"].axes
    marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
    assert {(0.5, 50.0), (0.5, 60.0)} <= marks
    assert set(erf_figures(table[table["analysis"] == "erf"], OURS, tmp_path)) == {"erf"}


def test_maps_that_are_gone_leave_no_picture(tmp_path: Path) -> None:
    table = _table(tmp_path)
    for path in (tmp_path / "parts").iterdir():
        path.unlink()
    assert "erf" not in erf_figures(table, OURS, tmp_path)
    assert erf_table(table, OURS).renderables
