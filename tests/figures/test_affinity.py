"""Figures of affinities: what is read from a file of maps, and what is drawn for whom."""

from __future__ import annotations

import dataclasses
import datetime
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from rich.console import Console

from stmbench.analyses.affinity.figures import affinity_figures
from stmbench.analyses.affinity.figures.depth import lines_of
from stmbench.analyses.affinity.figures.rows import read_maps, spread
from stmbench.analyses.affinity.terminal import affinity_table
from stmbench.figures.palette import strokes_of
from stmbench.reporting.build_report import figures
from stmbench.tables import Row
from stmbench.tables.rows import frame_of

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

MODELS = {"unified_halo_attn_micro": "halo_attn", "unified_dw_conv_micro": "dw_conv"}


def row(model: str, metric: str, value: float | None, **columns: object) -> Row:
    known = {
        "run_id": "r", "created_utc": NOW, "kind": "summary", "analysis": "affinity", "definition": "affinity.v1",
        "model": model, "architecture": "unified", "mixer": MODELS[model], "scale": "micro", "weights": "random:0",
        "dataset": "photos:1", "resolution": 224, "num_images": 2, "condition": "whole", "metric": metric,
        "unit": "px" if metric == "attention_distance" else "1", "value": value,
    }  # fmt: skip
    return Row(**{**known, **columns})  # type: ignore[arg-type]


def maps(folder: Path, name: str, *, per_image: bool = False, signed: bool = False) -> str:
    """A file of one layer: a map of 2 x 4 whose columns are two patches and a padding token; two positions."""
    weights = np.array([[0.5, 0.25, 0.25], [-1.0 if signed else 1.0, 0.0, 0.0]], dtype=np.float32)
    arrays = {
        "layer1.whole": np.broadcast_to(weights, (2 if per_image else 1, 1, 2, 3)), "layer1.place": np.array([0, 1]),
        "layer1.positions": np.array([0, 5]), "layer1.heads": np.array([0 if signed else -1]),
        "layer1.map": np.array([2, 4]), "layer1.output": np.array([2, 4]), "layer1.grid": np.array([1, 2]),
        "layer1.padding": np.array([False, False, True]),
        "layer1.boxes": np.array([[0, 0, 2, 2], [0, 2, 2, 4], [0, 0, 0, 0]]),
    }  # fmt: skip
    if per_image:
        arrays["images"] = np.zeros((2, 8, 16, 3), dtype=np.uint8)
    np.savez(folder / name, **arrays)
    return name


def table(*rows: Row) -> pd.DataFrame:
    frame = frame_of(rows)
    frame.attrs["mixers"] = {
        "halo_attn": {"title": "Halo Attention", "abbreviation": "Halo-Attn", "palette_slot": 0},
        "dw_conv": {"title": "Depth-Wise Convolution", "abbreviation": "DW-Conv", "palette_slot": 3},
    }
    return frame


def words(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel(), *(t.get_text() for t in axes.texts)]
    return " ".join(" | ".join(texts).split())


def test_a_patch_gets_the_weight_of_its_token_spread_over_it() -> None:
    counts = spread(np.array([1.0, 2.0]), np.array([[0, 0, 2, 2], [1, 2, 2, 3]]), (2, 3))
    assert counts.tolist() == [[0.25, 0.25, 0.0], [0.25, 0.25, 2.0]]


def test_maps_are_laid_out_on_the_input_and_padding_is_said(tmp_path: Path) -> None:
    frame = table(row("unified_halo_attn_micro", "affinity_map", None, artifact=maps(tmp_path, "a.npz")))
    (model,) = read_maps(frame, tmp_path)
    (strip,) = model.strips
    first, second = strip.panels
    assert (strip.stage, strip.block, strip.head, strip.image) == (0, 1, -1, None)
    assert first.padding == pytest.approx(0.25)
    assert first.weights.sum() == pytest.approx(0.75)
    assert first.is_reduced
    assert (second.y, second.x) == (1, 1)
    drawn = affinity_figures(frame, folder=tmp_path)
    assert list(drawn) == ["maps_Halo-Attn"]
    said = words(drawn["maps_Halo-Attn"])
    for piece in ("Affinity of Halo-Attn", "stage 1, block 2 · 2×4", "25 % padding", "random init", "over its patch"):
        assert piece in said, piece


def test_models_stand_below_each_other_and_images_in_rows(tmp_path: Path) -> None:
    files = [maps(tmp_path, f"{number}.npz", per_image=True, signed=number == 1) for number in range(2)]
    pairs = zip(MODELS, files, strict=True)
    frame = table(*(row(model, "affinity_map", None, artifact=file) for model, file in pairs))
    drawn = affinity_figures(frame, folder=tmp_path)
    assert set(drawn) == {"maps", "maps_Halo-Attn", "maps_DW-Conv"}
    assert [axes.get_xlabel() for axes in drawn["maps"].axes] == ["weight", "weight"], "a scale for each kind of weight"
    assert {image.get_clim() for image in drawn["maps"].findobj(BboxImage)} >= {(0.0, 1.0), (-1.0, 1.0)}
    assert "of which the first is shown" in words(drawn["maps"])
    said = words(drawn["maps_DW-Conv"])
    assert "image 2" in said
    assert "head 0" in said
    assert "red and blue" in said


def test_the_figures_of_a_store_hold_its_maps(tmp_path: Path) -> None:
    frame = table(row("unified_halo_attn_micro", "affinity_map", None, artifact=maps(tmp_path, "a.npz")))
    assert list(figures(frame, tmp_path)) == ["maps_Halo-Attn"], "rows of maps have no value"


def test_maps_that_are_gone_are_not_drawn(tmp_path: Path) -> None:
    frame = table(row("unified_halo_attn_micro", "affinity_map", None, artifact="gone.npz"))
    assert affinity_figures(frame, folder=tmp_path) == {}


def depth() -> pd.DataFrame:
    rows = []
    for model in MODELS:
        for stage, block in ((0, 0), (0, 1), (1, 0), (2, 0)):
            place = {"stage": stage, "block": block}
            rows.append(row(model, "attention_distance", 10.0 * stage + block, **place))
            rows += [row(model, "attention_distance", 10.0 * stage + 5 * head, head=head, **place) for head in (0, 1)]
            rows += [row(model, "mass_within", 0.1 * level, level=level, **place) for level in (1.5, 3.5)]
    return table(*rows)


def test_depth_is_the_place_within_the_stage() -> None:
    lines, stages = lines_of(depth(), "attention_distance")
    assert stages == 3
    assert [line.label for line in lines] == ["Halo-Attn", "DW-Conv"]
    assert lines[0].depth == [0.25, 0.75, 1.5, 2.5]
    assert lines[0].mean == [0, 1, 10, 20]
    assert (lines[0].low[2], lines[0].high[2]) == (10, 15)


@pytest.mark.parametrize("models", [1, 2])
def test_lines_of_jacobians_say_so_beside_others(models: int, tmp_path: Path) -> None:
    frame = depth()
    frame.loc[frame["model"].isin(list(MODELS)[-models:]), "condition"] = "jacobian of mixer"
    lines, _ = lines_of(frame, "attention_distance")
    assert [line.label for line in lines] == ["Halo-Attn", "DW-Conv (Jacobian)" if models == 1 else "DW-Conv"]
    drawn = words(affinity_figures(frame, folder=tmp_path)["attention_distance"])
    assert ("Jacobian of mixer" in drawn) == (models == 2)
    assert ("bars: lowest to highest head" in drawn) == (models == 1)
    with io.StringIO() as text:
        Console(file=text, width=120).print(affinity_table(frame))
        shown = text.getvalue()
    assert ("DW-Conv (Jacobian)" in shown) == (models == 1)


def test_lines_of_one_mixer_differ_in_stroke() -> None:
    lines, _ = lines_of(depth(), "attention_distance")
    same = [lines[0], lines[1], dataclasses.replace(lines[0], label="another")]
    first, second, third = strokes_of([line.style for line in same])
    assert (first, second) == (lines[0].style.stroke, lines[1].style.stroke)
    assert third != first


def test_distance_and_locality_are_drawn_by_depth(tmp_path: Path) -> None:
    drawn = affinity_figures(depth(), folder=tmp_path)
    assert set(drawn) == {"attention_distance", "locality"}
    assert "random init" in words(drawn["attention_distance"])
    assert "mean attention distance, px" in words(drawn["attention_distance"])
    assert "within 3.5 tokens" in words(drawn["locality"])
    assert len(drawn["locality"].axes) == 2


def test_alpha_and_beta_stand_side_by_side_where_parts_are_mixed(tmp_path: Path) -> None:
    assert "mixture" not in affinity_figures(depth(), folder=tmp_path)
    frame = table(
        *(row("unified_halo_attn_micro", metric, value / 10, stage=stage, block=0)
          for metric in ("alpha", "beta") for stage, value in enumerate((5, 7, 9)))
    )  # fmt: skip
    figure = affinity_figures(frame, folder=tmp_path)["mixture"]
    assert [text.get_text() for axes in figure.axes for text in axes.texts if "(" in text.get_text()] == [
        "alpha (dynamic)", "beta (static)",
    ]  # fmt: skip
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.5, 0.7, 0.9]
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert high > 0.9
