"""Figures, the terminal's table and the report's section, as functions of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from stmbench.analyses.frequency.figures import drawn_or_not, frequency_figures
from stmbench.analyses.frequency.figures.plots import read_heat_maps
from stmbench.analyses.frequency.options import ACCURACY, CHANGED, CONSISTENCY, ERROR
from stmbench.analyses.frequency.section import section
from stmbench.analyses.frequency.terminal import frequency_table
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import marks_in
from stmbench.figures.palette import LOOKS
from stmbench.reporting.model_table import with_the_rest
from tests.analyses.frequency.tables import table


def test_a_line_for_each_model_in_its_colour_by_depth(tmp_path: Path) -> None:
    figure = frequency_figures(table(tmp_path), tmp_path)["frequency_depth"]
    after, mixers = figure.axes
    assert [line.get_color() for line in after.lines[:2]] == [LOOKS[2].colour, LOOKS[3].colour]
    assert list(after.lines[0].get_xdata()) == [0.25, 0.75, 1.25, 1.75]
    assert list(after.lines[0].get_ydata()) == pytest.approx([-3, -2.9, -2, -1.9])
    assert list(mixers.lines[1].get_ydata()) == pytest.approx([0.5, 0.51, 0.5, 0.51])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SW-Attn", "DW-Conv"]
    assert "SW-Attn: -3.000, -2.900, -2.000, -1.900" in {mark.text for mark in marks_in(figure).values()}


def test_models_of_which_no_mixer_is_known_have_one_panel(tmp_path: Path) -> None:
    frame = table(tmp_path, resnet=True)
    rows = frame[frame["model"] == "timm:resnet18"]
    assert len(frequency_figures(rows, tmp_path)["frequency_depth"].axes) == 1


def test_heat_maps_share_a_scale_and_have_frequency_0_in_the_middle(tmp_path: Path) -> None:
    figure = frequency_figures(table(tmp_path), tmp_path)["frequency_heat_maps"]
    first, second, bar = figure.axes
    shown = [axes.images[0] for axes in (first, second)]
    assert [image.get_clim() for image in shown] == [(0, 50), (0, 50)]  # the largest value is 50 %
    np.testing.assert_allclose(shown[0].get_array()[1], [30, 40, 30])
    assert [label.get_text() for label in first.get_xticklabels()] == ["−16", "0", "16"]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0 %", "25 %", "50 %"]
    assert first.get_xlabel() == "mean 20.0 %"
    said = " ".join(text.get_text() for text in figure.texts)
    assert "wrong predictions" in said
    assert "l2 norm 2.25" in said


def test_of_several_trainings_the_heat_map_of_the_first_is_drawn(tmp_path: Path) -> None:
    both = pd.concat([table(tmp_path, weights="digits.e1.s1:def"), table(tmp_path)], ignore_index=True)
    maps = read_heat_maps(both, tmp_path)
    assert {item.point.facts["weights"] for item in maps} == {"digits.e1.s0:abc"}
    assert len(maps) == 2


def test_accuracy_by_band_starts_with_that_without_noise(tmp_path: Path) -> None:
    (axes,) = frequency_figures(table(tmp_path), tmp_path)["frequency_bands"].axes
    line, clean = axes.lines[:2]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.25, 0.75], [40, 80])
    assert list(clean.get_ydata()) == [90]
    assert axes.get_ylabel() == "top-1 accuracy, %"


@pytest.mark.parametrize(("weights", "labelled"), [("random:0", True), ("digits.e1.s0:abc", False)])
def test_without_training_or_labels_changed_answers_are_shown(tmp_path: Path, weights: str, labelled: bool) -> None:
    found = frequency_figures(table(tmp_path, weights=weights, labelled=labelled), tmp_path)
    (axes,) = found["frequency_bands"].axes
    assert list(axes.lines[0].get_ydata()) == [50, 90]
    assert axes.get_ylabel() == "predictions as without noise, %"
    assert found["frequency_heat_maps"].axes[0].images[0].get_clim() == (0, 50)
    assert "changed predictions" in " ".join(text.get_text() for text in found["frequency_heat_maps"].texts)


def test_a_map_that_is_lost_is_left_out_and_no_rows_give_no_figure(tmp_path: Path) -> None:
    frame = table(tmp_path)
    (tmp_path / "unified_sw_attn_nano.npz").unlink()
    assert len(frequency_figures(frame, tmp_path)["frequency_heat_maps"].axes) == 2  # one map and the scale
    (tmp_path / "unified_dw_conv_nano.npz").write_bytes(b"PK")
    assert "frequency_heat_maps" not in frequency_figures(frame, tmp_path)
    assert frequency_figures(frame[frame["model"] == "none"], tmp_path) == {}


def _text(renderable: object) -> str:
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_the_terminal_says_one_row_for_each_model(tmp_path: Path) -> None:
    text = _text(frequency_table(table(tmp_path, resnet=True)))
    rows = [line.split() for line in text.splitlines() if " · " in line and " px " in line]
    assert [row[3:] for row in rows[:1]] == [["px", "-1.50", "-1.90", "90.0", "40.0", "80.0", "20.0"]]
    assert len(rows) == 3
    assert "–" in rows[2]  # the mixers of timm's model are not known
    frame = table(tmp_path)
    with pytest.raises(TableError, match="stmbench frequency"):
        frequency_table(frame[frame["model"] == "none"])


def test_the_section_ranks_mixers_and_has_one_row_for_each_model(tmp_path: Path) -> None:
    frame = table(tmp_path, resnet=True)
    frame["artifact"] = [str(tmp_path / name) if isinstance(name, str) else name for name in frame["artifact"]]
    frame["artifact"] = frame["artifact"].astype("string")
    found = section(View(rows=frame))
    assert "most low-pass mixers of 2 models are those of SW-Attn · 32 px, which weaken" in found.lead
    assert "DW-Conv · 32 px, which strengthen the highest frequencies (0.500)" in found.lead
    assert {plot.name for plot in found.plots} == {"frequency_depth", "frequency_heat_maps", "frequency_bands"}
    assert with_the_rest(found, frame) == found  # every value is in a table or at a mark
    summary = found.tables[0]
    assert [len(table.lines) for table in found.tables] == [3, 3, 2, 3, 3]
    assert summary.lines[0].cells[1].text == "-1.500"
    assert summary.lines[0].cells[3].text == "20.0"
    assert found.tables[1].columns[3].heading == "2.1"


def test_another_norm_has_another_definition_and_keeps_labels(tmp_path: Path) -> None:
    frame = table(tmp_path)
    noisy = frame["metric"].isin([ERROR, CHANGED, ACCURACY, CONSISTENCY])
    frame.loc[noisy, "definition"] = "frequency.norm4.v1"
    figure = frequency_figures(frame, tmp_path)["frequency_bands"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SW-Attn", "DW-Conv"]


def test_what_would_be_one_point_or_hardly_a_map_is_left_out_and_said(tmp_path: Path) -> None:
    frame = table(tmp_path)
    first = (frame["stage"] == 0) & (frame["block"] == 0)
    alone = frame[frame["stage"].isna() & ~frame["level"].eq(0.75) | first]
    alone.attrs = frame.attrs
    for path in tmp_path.rglob("*.npz"):
        with np.load(path) as arrays:
            small = {name: array[:2, :2] if name in (ERROR, CHANGED) else array for name, array in arrays.items()}
        np.savez(path, **small)
    drawn, lines = drawn_or_not(alone, tmp_path)
    assert drawn == {}
    assert [line.partition(":")[0] for line in lines] == [
        "No figure of frequencies by depth",
        "No figure of Fourier heat maps",
        "No figure of noise by band",
    ]
    assert "2×2 frequencies" in lines[1]
    notes = [caveat.text for caveat in section(View(rows=alone, whole=alone, folder=tmp_path)).caveats]
    assert notes[-3:] == lines
