"""Heat maps and sizes of receptive fields, as pure functions of a table and the maps beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import BboxImage
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
    assert len(figure.findobj(BboxImage)) == 4
    (bar,) = figure.axes
    assert bar.get_yticklabels()[-1].get_text() == "100 %"
    assert bar.get_position().x1 > 0.9, "panels fill the width"
    squares = [one for one in figure.artists if isinstance(one, Rectangle) and one.get_path_effects()]
    assert len(squares) == 4
    x, y, side = squares[0].get_x(), squares[0].get_y(), squares[0].get_width()
    assert (y + side / 2, x + side / 2, side) == pytest.approx((20.0, 30.5, 16.0))
    words = " ".join(text.get_text() for text in figure.texts)
    assert "random init" in words
    assert OURS in words


def test_of_several_trainings_the_first_is_drawn_and_the_figure_says_so(tmp_path: Path) -> None:
    first = _table(tmp_path, trained=True)
    second = first.assign(
        weights=first["weights"].str.replace("mine", "more"),
        value=first["value"] + 0.125,
        artifact="parts/1.npz",
        created_utc=first["created_utc"] + pd.Timedelta(seconds=1),
    )
    both = pd.concat([second, first], ignore_index=True)
    maps = read_maps(both, OURS, tmp_path)
    assert [(item.stage, item.value) for item in maps] == [(0, 0.25), (1, 0.5)] * 2
    figure = erf_figures(both, OURS, tmp_path)["erf"]
    assert len(figure.findobj(BboxImage)) == 4, "not two maps in one place"
    assert "the first of 2 trainings" in " ".join(text.get_text() for text in figure.texts)


def test_maps_at_two_sizes_have_a_row_each(tmp_path: Path) -> None:
    one = _table(tmp_path)
    both = pd.concat([one, one.assign(resolution="32")], ignore_index=True)
    labels = {item.label for item in read_maps(both, OURS, tmp_path)}
    assert labels == {f"{name} · {side} px" for name in ("sw_attn", "dw_conv") for side in (32, 64)}
    assert len(erf_figures(both, OURS, tmp_path)["erf"].findobj(BboxImage)) == 8


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


def detectors(**changes: Any) -> pd.DataFrame:
    """Fields and detectors of five backbones; the rank correlation of 1, 2, 3, 4, 5 and 2, 1, 4, 3, 5 is 0.8."""
    rows = []
    for number, worth in enumerate((0.2, 0.1, 0.4, 0.3, 0.5)):
        name = f"unified_m{number}_nano"
        known: dict[str, Any] = {
            "run_id": "r", "created_utc": WHEN, "kind": "summary", "mixer": f"m{number}", "scale": "nano",
            "architecture": "unified", "seed": 0, "status": "ok", "num_images": 10, "dtype": "fp32", "device": "cpu",
        }  # fmt: skip
        size = 0.1 * (number + 1)
        rows.append(Row(**{**known, "analysis": "erf", "definition": OURS, "model": name, "weights": "in1k.pth:01",
                           "metric": "erf", "unit": "input_side", "level": 50.0, "stage": 3, "value": size,
                           "dataset": "photos:1", "resolution": 224, **changes}))  # fmt: skip
        rows.append(Row(**known, analysis="detection", definition="detection.coco.v1", model=f"maskrcnn:{name}",
                        weights="coco.pth:02", metric="box_ap", unit="1", value=worth, ci_low=worth - 0.01,
                        ci_high=worth + 0.01, dataset="coco:1", resolution="800x1333"))  # fmt: skip
    return frame_of(rows)


def test_a_detector_stands_at_the_field_of_its_backbone_with_the_rank_correlation(tmp_path: Path) -> None:
    (axes,) = erf_figures(detectors(), OURS, tmp_path)["erf_detection"].axes
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_markersize() == 8]
    assert marks == [pytest.approx(at) for at in ((0.1, 20), (0.2, 10), (0.3, 40), (0.4, 30), (0.5, 50))]
    assert any(text.get_text().startswith("Spearman's ρ 0.80 (95 %: ") for text in axes.texts)
    assert erf_figures(detectors(weights="random:0"), OURS, tmp_path) == {}


def test_a_detectors_own_field_comes_before_its_backbones(tmp_path: Path) -> None:
    both = detectors()
    own = both[(both["analysis"] == "erf") & (both["model"] == "unified_m0_nano")]
    own = own.assign(model="maskrcnn:unified_m0_nano", weights="coco.pth:02", value=0.77)
    figure = erf_figures(pd.concat([both, own], ignore_index=True), OURS, tmp_path)["erf_detection"]
    places = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_markersize() == 8]
    assert places[0] == 0.77
    options = both.assign(model=both["model"].str.replace("maskrcnn:unified_m0_nano", "maskrcnn:unified_m0_nano[a=1]"))
    assert "erf_detection" in erf_figures(options, OURS, tmp_path)


def test_few_models_and_several_settings_have_no_correlation(tmp_path: Path) -> None:
    few = detectors()
    few = few[~few["model"].str.contains("m4")]
    (axes,) = erf_figures(few, OURS, tmp_path)["erf_detection"].axes
    assert not any("Spearman" in text.get_text() for text in axes.texts)
    one = few[few["model"].str.contains("m0")]
    sentences: list[str] = []
    assert erf_figures(one, OURS, tmp_path, left_out=sentences) == {}
    assert sentences == ["Receptive field against box AP is left out: one trained model would be one point."]
