"""The table, the figures and the section of probes, from rows alone."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from stmbench.analyses.probe.figures import figures
from stmbench.analyses.probe.figures.accuracies import by_epoch, last_epochs
from stmbench.analyses.probe.options import CHOICE, COSINE, DIFFERENCE, KNN, KNN_TOP5, LINEAR, NAME
from stmbench.analyses.probe.section import section
from stmbench.analyses.probe.terminal import terminal
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import marks_in
from stmbench.tables import Row, frame_of
from tests.tables.frames import WHEN

RANDOM = "random:0"


def _row(mixer: str, weights: str, metric: str, value: float, **columns: Any) -> Row:
    known: dict[str, Any] = {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": NAME, "architecture": "unified",
        "scale": "nano", "mixer": mixer, "model": f"unified_{mixer}_nano", "weights": weights, "seed": 0, "unit": "1",
        "dataset": "digits:abc", "split": "test", "num_images": 90, "resolution": 32, "dtype": "fp32", "device": "cpu",
        "definition": "probe.knn.v1", "num_samples": 90, "metric": metric, "value": value,
    }  # fmt: skip
    if metric not in (CHOICE, COSINE):
        known |= {"ci_low": value - 0.02, "ci_high": value + 0.02}
    return Row(**{**known, **columns})


def probe_rows(mixer: str, weights: str, value: float, *, linear: bool = True) -> list[Row]:
    """kNN at 10 and 20, 1 and 0 points above `value`, and a linear probe 2 points above it."""
    rows = [_row(mixer, weights, KNN, value + (20 - k) / 1000, level=k) for k in (10, 20)]
    rows += [_row(mixer, weights, KNN_TOP5, 0.991, level=20), _row(mixer, weights, COSINE, 0.4321)]
    if linear:
        at = {"condition": "sgd", "definition": "probe.sgd100.v1"}
        rows.append(_row(mixer, weights, LINEAR, value + 0.02, **at))
        rows.append(_row(mixer, weights, CHOICE, 0.03, **at))
    return rows


def view_of(rows: list[Row]) -> View:
    frame = frame_of(rows)
    frame.attrs["mixers"] = {
        "sw_attn": {"abbreviation": "SW-Attn", "palette_slot": 2},
        "dw_conv": {"abbreviation": "DW-Conv", "palette_slot": 3},
    }
    return View(rows=frame, whole=frame, folder=Path())


def _said(view: View) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(terminal(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_row_has_every_k_and_the_linear_probe() -> None:
    said = _said(
        view_of(probe_rows("dw_conv", "digits.e6.s0:abc", 0.8) + probe_rows("sw_attn", RANDOM, 0.7, linear=False))
    )
    lines = [line.split() for line in said.splitlines()]
    assert ["DW-Conv", "81.0", "80.0", "82.0"] in lines
    assert next(line for line in lines if line[0] == "SW-Attn")[-3:] == ["71.0", "70.0", "–"]
    assert "78.0–82.0" in said
    assert "· rate" in said
    assert "random init" in said
    assert "digits · test · 90 images" in said


def test_rows_of_one_training_are_together_and_by_epoch() -> None:
    rows = [row for epoch in (10, 2) for row in probe_rows("dw_conv", f"digits.e12.s0.epoch{epoch}:a{epoch}", 0.8)]
    rows[1:1] = probe_rows("sw_attn", "digits.e12.s0:c", 0.7)
    said = _said(view_of([*rows, *probe_rows("dw_conv", "digits.e12.s0:a12", 0.8)]))
    assert re.findall(r"(?:a\d+|SW-Attn)\b", said.replace("\n", "")) == ["a2", "a10", "a12", "SW-Attn"]


def test_a_table_of_other_rows_is_refused() -> None:
    with pytest.raises(TableError, match="rows of the analysis 'probe'"):
        terminal(view_of([_row("dw_conv", RANDOM, COSINE, 0.5)]))


def test_dots_stand_side_by_side_and_say_their_values() -> None:
    view = view_of(probe_rows("dw_conv", RANDOM, 0.8) + probe_rows("sw_attn", RANDOM, 0.7))
    (figure,) = figures(view).values()
    assert [axes.get_xlabel() for axes in figure.axes] == ["kNN accuracy (k = 20), %", "linear accuracy (sgd), %"]
    words = {mark.text for mark in marks_in(figure).values()}
    assert "DW-Conv: kNN accuracy at k = 20, 80.0 % (95 %: 78.0 to 82.0)" in words
    assert "SW-Attn: linear accuracy sgd, 72.0 % (95 %: 70.0 to 74.0)" in words


def test_probes_of_different_weights_are_figures_of_their_own() -> None:
    rows = probe_rows("dw_conv", RANDOM, 0.8) + probe_rows("sw_attn", RANDOM, 0.7)
    rows += probe_rows("dw_conv", "digits.e6.s0:abc", 0.9, linear=False)
    view = view_of(rows)
    assert set(figures(view)) == {"probe_knn", "probe_linear"}
    titles = {plot.name: plot.title for plot in section(view).plots}
    assert titles["probe_knn"].startswith("Nearest neighbours")
    assert titles["probe_linear"].startswith("Linear classifiers")


def test_one_point_is_no_figure_which_is_said() -> None:
    view = view_of(probe_rows("dw_conv", RANDOM, 0.8))
    assert figures(view) == {}
    assert any(note.text.startswith("No figure") for note in section(view).caveats)


def _trainings() -> View:
    """Two trainings of one model that kept epochs 2 and 4 of 4 (the last is kept twice), and random weights."""
    rows = probe_rows("dw_conv", RANDOM, 0.5)
    for seed in (0, 1):
        for name, value in ((".epoch2:a", 0.6), (".epoch4:b", 0.7), (":b", 0.7)):
            rows += probe_rows("dw_conv", f"shapes.dino.e4.s{seed}{name}{seed}", value + 0.1 * seed)
    return view_of(rows)


def test_knn_by_epoch_joins_seeds_and_takes_each_epoch_once() -> None:
    view = _trainings()
    found = by_epoch(view.rows)
    assert [(point.level, point.trainings) for point in found] == [(2, 2), (4, 2)]
    assert [point.value for point in found] == pytest.approx([0.65, 0.75])
    assert (found[0].low, found[0].high) == (pytest.approx(0.58), pytest.approx(0.72))
    drawn = figures(view)
    assert set(drawn) == {"probe_accuracy", "probe_epochs"}
    (axes,) = drawn["probe_epochs"].axes
    assert axes.lines[0].get_xydata().tolist() == [[2, pytest.approx(65)], [4, pytest.approx(75)]]


def test_recipes_of_one_model_are_lines_of_their_own() -> None:
    view = _trainings()
    other = [
        row
        for epoch in (2, 4)
        for row in probe_rows("dw_conv", f"shapes.e4.s0.epoch{epoch}:c{epoch}", 0.6 + epoch / 100)
    ]
    rows = pd.concat([view.rows, view_of(other).rows], ignore_index=True)
    rows.attrs = view.rows.attrs
    lines: dict[str, list[float]] = {}
    for point in by_epoch(rows):
        lines.setdefault(point.label, []).append(round(point.value, 3))
    assert lines == {"DW-Conv · shapes.dino.e4": [0.65, 0.75], "DW-Conv · shapes.e4": [0.62, 0.64]}


def test_dots_are_of_the_last_epoch() -> None:
    left = last_epochs(_trainings().rows)
    assert set(left["weights"]) == {RANDOM, "shapes.dino.e4.s0:b0", "shapes.dino.e4.s1:b1"}
    assert left.attrs["mixers"]


def test_seeds_of_an_epoch_are_joined_in_dots() -> None:
    rows = [
        row for seed in (0, 1) for row in probe_rows("dw_conv", f"shapes.e4.s{seed}.epoch4:b{seed}", 0.6 + seed / 10)
    ]
    rows += [
        row for seed in (0, 1) for row in probe_rows("sw_attn", f"shapes.e4.s{seed}.epoch3:c{seed}", 0.5 + seed / 10)
    ]
    view = view_of(rows)
    assert set(last_epochs(view.rows)["weights"]) == {
        *("shapes.e4.s0:b0", "shapes.e4.s1:b1", "shapes.e4.epoch3.s0:c0", "shapes.e4.epoch3.s1:c1"),
    }
    (figure,) = figures(view).values()
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [name.split(" ")[0] for name in names] == ["DW-Conv", "SW-Attn"]


def test_small_marks_are_of_the_rows_own_recipe() -> None:
    rows = [row for seed in (0, 1) for row in probe_rows("dw_conv", f"digits.e4.s{seed}:b{seed}", 0.8 + seed / 10)]
    rows += probe_rows("dw_conv", "digits.dino.e4.s0:c", 0.6)
    (figure,) = figures(view_of(rows)).values()
    small = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_markersize() == 4]
    assert small == pytest.approx([80, 90])


def test_the_section_leads_with_the_best_and_has_the_differences() -> None:
    rows = probe_rows("dw_conv", RANDOM, 0.8) + probe_rows("sw_attn", RANDOM, 0.7)
    for condition, level in (("knn", 20), ("sgd", None)):
        at = {"condition": condition, "level": level, "baseline": "unified_sw_attn_nano"}
        rows.append(_row("dw_conv", RANDOM, DIFFERENCE, 0.1, **at))
    made = section(view_of(rows))
    assert made.lead.startswith("DW-Conv has the highest kNN accuracy (k = 20) of 2: 80.0 % (78.0 to 82.0)")
    assert made.conditions == "digits · test · 90 images · 32 px · fp32 · cpu"
    accuracies, more, differences = made.tables
    assert [cell.text for cell in accuracies.lines[0].cells] == ["DW-Conv", "81.0", "80.0", "82.0"]
    assert [column.heading for column in more.columns[1:]] == ["kNN top-5, k = 20", "Chosen rate (sgd)", "Mean cosine"]
    assert [cell.text for cell in more.lines[0].cells] == ["DW-Conv", "99.1", "0.030", "0.432"]
    assert differences.title == "Differences to SW-Attn"
    assert [cell.text for cell in differences.lines[0].cells] == ["DW-Conv", "10.0", "10.0"]


def test_a_linear_probe_alone_leads_the_section() -> None:
    rows = [row for mixer in ("dw_conv", "sw_attn") for row in probe_rows(mixer, RANDOM, 0.7) if row.metric == LINEAR]
    assert section(view_of(rows)).lead.startswith("All 2 models have the same linear accuracy: 72.0 %")
