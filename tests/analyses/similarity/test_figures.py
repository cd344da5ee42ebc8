"""Figures, terminal table and section from the rows and matrices of a small run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from stmbench.analyses.images import ImageRequest
from stmbench.analyses.registry import View
from stmbench.analyses.similarity.analysis import SimilarityAnalysis
from stmbench.analyses.similarity.figures import similarity_figures
from stmbench.analyses.similarity.options import SimilarityOptions
from stmbench.analyses.similarity.section import section
from stmbench.analyses.similarity.terminal import terminal
from stmbench.errors import TableError
from stmbench.figures.annotations import marks_in
from stmbench.reporting.model_table import with_the_rest
from stmbench.tables import Store

MODELS = ("unified_dw_conv_nano", "unified_identity_nano", "unified_sw_attn_nano")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three models of random weights, two of which are compared with the third."""
    folder = tmp_path_factory.mktemp("similarity")
    request = ImageRequest(models=MODELS, dataset="digits", num_images=10, batch_size=10)
    SimilarityAnalysis(SimilarityOptions(), request, Store(folder)).run()
    return folder


def _value(frame: pd.DataFrame, model: str, baseline: str) -> float:
    return float(frame.loc[(frame["model"] == model) & (frame["baseline"] == baseline), "value"].item())


def test_layers_have_a_panel_each_with_borders_at_stages(store: Path) -> None:
    found = similarity_figures(Store(store).read(), store)
    assert list(found) == ["similarity_layers", "similarity_pairs", "similarity_models", "similarity_depth"]
    layers, pairs = found["similarity_layers"], found["similarity_pairs"]
    assert [axes.get_title() for axes in layers.axes] == ["DW-Conv", "Identity", "SW-Attn", ""]  # and the scale
    assert [axes.get_title() for axes in pairs.axes] == ["DW-Conv", "SW-Attn", ""]
    panel = layers.axes[0]
    assert sorted({line.get_xdata()[0] for line in panel.lines} - {0}) == [1.5, 3.5, 5.5, 7.5]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "3", "4", "p"]
    shown = np.asarray(panel.images[0].get_array())
    np.testing.assert_allclose(np.diag(shown), 1)
    assert shown[7, 0] == pytest.approx(float(panel.get_xlabel().split()[-1]), abs=5e-4)
    said = " ".join(text.get_text() for text in pairs.texts)
    assert "across: Identity" in said
    assert "random init" in said
    assert "grey" not in said


def test_models_have_a_symmetric_matrix_with_numbers(store: Path) -> None:
    frame = Store(store).read()
    figure = similarity_figures(frame, store)["similarity_models"]
    axes = figure.axes[0]
    matrix = np.asarray(axes.images[0].get_array())
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Identity", "DW-Conv", "SW-Attn"]
    conv, identity, attention = MODELS
    wanted = [_value(frame, conv, identity), _value(frame, attention, identity), _value(frame, attention, conv)]
    np.testing.assert_allclose([matrix[0, 1], matrix[0, 2], matrix[1, 2]], wanted)
    np.testing.assert_allclose(matrix, matrix.T)
    assert axes.texts[1].get_text() == f"{wanted[0]:.2f}"
    assert any("SW-Attn: CKA" in mark.text and "with DW-Conv" in mark.text for mark in marks_in(figure).values())
    assert axes.images[0].get_clim() == ((0.5, 1) if min(wanted) >= 0.5 else (0, 1))


def test_many_models_have_no_numbers_and_trained_ones_a_matrix_of_their_own(store: Path) -> None:
    frame = Store(store).read()
    pair = frame[frame["baseline"].notna()].iloc[:1]
    more = [pair.assign(model=f"timm:net{number}", mixer=None, value=0.2) for number in range(13)]
    many = pd.concat([frame, *more]).astype(frame.dtypes)
    many.attrs = frame.attrs
    axes = similarity_figures(many, store)["similarity_models"].axes[0]
    assert (len(axes.get_yticklabels()), len(axes.texts), axes.images[0].get_clim()) == (16, 0, (0, 1))
    assert np.isnan(np.asarray(axes.images[0].get_array())[5, 6])
    trained = pd.concat([frame, pair.assign(weights="digits.e1.s0:abc", value=0.3)])
    trained.attrs = frame.attrs
    found = similarity_figures(trained, store)
    assert np.asarray(found["similarity_models_2"].axes[0].images[0].get_array())[0, 1] == pytest.approx(0.3)


def test_lines_go_through_the_stages_to_the_pooled_features(store: Path) -> None:
    frame = Store(store).read()
    figure = similarity_figures(frame, store)["similarity_depth"]
    rank, uniformity = figure.axes
    assert list(rank.lines[0].get_xdata()) == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.3]
    rows = frame[(frame["metric"] == "uniformity") & (frame["model"] == MODELS[0])]
    np.testing.assert_allclose(uniformity.lines[0].get_ydata(), rows.sort_values("level")["value"])
    assert {"DW-Conv", "Identity", "SW-Attn"} <= {text.get_text() for text in uniformity.texts}
    short = frame[~((frame["model"] == MODELS[0]) & (frame["stage"] > 1))]
    short.attrs = frame.attrs
    axes = similarity_figures(short, store)["similarity_depth"].axes[0]
    assert axes.get_xlabel() == "share of the stages"
    assert list(axes.lines[0].get_xdata())[:2] == [0.125, 0.375]


def test_a_lost_matrix_and_no_rows_are_left_out(store: Path, tmp_path: Path) -> None:
    frame = Store(store).read()
    assert list(similarity_figures(frame, tmp_path)) == ["similarity_models", "similarity_depth"]
    assert similarity_figures(frame[frame["model"] == "none"], store) == {}


def test_the_terminal_has_one_row_for_each_model(store: Path) -> None:
    frame, console = Store(store).read(), Console(width=120)
    with console.capture() as captured:
        console.print(terminal(View(rows=frame)))
    lines = captured.get().splitlines()
    assert "CKA with" in lines[0]
    (conv,) = (line.split() for line in lines if line.startswith("DW-Conv"))
    assert conv[3] == f"{_value(frame, MODELS[0], MODELS[1]):.3f}"
    (identity,) = (line.split() for line in lines if line.startswith("Identity"))
    assert identity[3] == "–"
    with pytest.raises(TableError, match="stmbench similarity"):
        terminal(View(rows=frame[frame["model"] == "none"]))


def test_the_section_shows_every_value(store: Path) -> None:
    frame = Store(store).read()
    found = section(View(rows=frame, folder=store))
    assert with_the_rest(found, frame) is found
    assert [table.name for table in found.tables] == [
        "similarity", "similarity-pairs", "similarity-rank", "similarity-uniformity"
    ]  # fmt: skip
    assert [column.unit for column in found.tables[0].columns[3:]] == ["with Identity", "first block to last"]
    assert len(found.tables[1].lines) == 3
    assert found.tables[2].columns[-1].heading == "4.2"
    assert "Of 3 models the features of" in found.lead
    assert "most alike (CKA" in found.lead
    assert {plot.name for plot in found.plots} == set(similarity_figures(frame, store))
