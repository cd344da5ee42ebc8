"""Curves of invariance, as pure functions of a table."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from stmbench.analyses.invariance.figures import invariance_figures, left_out
from stmbench.analyses.invariance.terminal import invariance_table
from stmbench.errors import TableError
from stmbench.tables import Row, frame_of
from tests.figures.small_panels import boxes_of
from tests.tables.frames import WHEN, with_attrs


def _table(*, labelled: bool = True) -> pd.DataFrame:
    known: dict[str, Any] = {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": "invariance_rotation", "scale": "nano",
        "architecture": "unified", "weights": "random:0", "seed": 0, "dataset": "digits:abc", "num_images": 10,
        "resolution": 32, "unit": "1", "status": "ok", "dtype": "fp32", "device": "cpu", "definition": "stmbench.v1",
        "condition": "before", "num_samples": 10,
    }  # fmt: skip
    rows = []
    for mixer in ("sw_attn", "dw_conv"):
        for metric in ("consistency", *(["accuracy", "consistency_on_correct"] if labelled else [])):
            for level in (0.0, 10.0, 45.0):
                value = 1 - level / 90
                rows.append(Row(**known, model=f"unified_{mixer}_nano", mixer=mixer, metric=metric, level=level,
                                value=value, ci_low=value - 0.1, ci_high=min(1.0, value + 0.1)))  # fmt: skip
    missing = {**known, "status": "skipped", "reason": "too small"}
    rows.append(
        Row(**missing, model="unified_sw_attn_nano", mixer="sw_attn", metric="consistency", level=60.0, value=None)
    )
    return frame_of(rows)


def test_a_panel_for_each_metric_and_a_line_with_its_band_for_each_model() -> None:
    (figure,) = invariance_figures(with_attrs(_table())).values()
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2]
    assert [len(axes.collections) for axes in figure.axes] == [2, 2, 2]
    line = figure.axes[0].lines[0]
    assert list(line.get_xdata()) == [0, 10, 45]
    assert list(line.get_ydata()) == pytest.approx([100, 100 * (1 - 10 / 90), 50])
    assert "random init" in figure.get_supxlabel()
    assert {text.get_text() for text in figure.axes[-1].texts} - {""} == {"SW-Attn", "DW-Conv"}  # at the lines' ends
    low, high = figure.axes[0].get_ylim()
    assert 33 < low < 40  # the lowest end of an interval is 40
    assert high > 100
    assert max(figure.axes[0].get_yticks()) <= 100


def test_differences_come_first_and_one_level_is_no_curve() -> None:
    frame = _table()
    rows = frame[(frame["mixer"] == "sw_attn") & frame["metric"].isin(["consistency", "accuracy"])]
    pairs = rows.assign(metric=rows["metric"] + "_difference", baseline="unified_dw_conv_nano", value=-0.05,
                        ci_low=-0.08, ci_high=0.02)  # fmt: skip
    both = with_attrs(pd.concat([frame, pairs[rows["value"].notna()]], ignore_index=True))
    differences, curves = invariance_figures(both).values()
    assert len(boxes_of(differences)) == 2
    assert len(curves.axes) == 3
    assert "DW-Conv" in differences.get_supxlabel()
    alone = both[both["level"].isin([0, 60])]
    alone.attrs = both.attrs
    assert invariance_figures(alone) == {}
    assert left_out(alone) == ["No figure of stmbench.v1: of 1 level there is no curve; add others with --levels."]
    assert left_out(both) == []


def test_unlabelled_sets_have_one_panel() -> None:
    (figure,) = invariance_figures(_table(labelled=False)).values()
    assert len(figure.axes) == 1


def test_the_table_says_what_was_left_out() -> None:
    lines = [str(line) for line in invariance_table(_table()).renderables]
    assert any("levels 60 of a model" in line for line in lines)


def test_a_table_without_invariance() -> None:
    empty = _table()
    assert invariance_figures(empty[empty["level"] > 100]) == {}
    with pytest.raises(TableError):
        invariance_table(empty[empty["level"] > 100])
