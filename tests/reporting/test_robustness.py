"""The table of what is left under attack."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from stmbench.analyses.robustness.figures import robustness_figures
from stmbench.analyses.robustness.terminal import robustness_table
from stmbench.errors import TableError
from stmbench.tables import Row
from tests.tables.robustness_frames import EPS, PGD, attacked, frame, of_five


def _printed(rows: list[Row], width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(robustness_table(frame(rows)))
    return file.getvalue()


def test_terminal_shows_interval_below_each_value() -> None:
    lines = _printed(of_five()).splitlines()
    assert lines[0].split() == ["attack", "model", "clean", "0.5/255", "2/255", "8/255"]
    (line,) = [number for number, text in enumerate(lines) if "Halo-Attn" in text]
    assert lines[line].split()[-4:] == ["78.0", "61.0", "34.0", "12.0"]
    assert lines[line + 1].split() == ["73.0–83.0", "56.0–66.0", "29.0–39.0", "7.0–17.0"]


def test_attack_at_eps_0_is_a_column_beside_clean() -> None:
    at_zero = [dataclasses.replace(row, condition="attacked", value=0.7) for row in attacked() if row.level == EPS[0]]
    rows = [*attacked(), *at_zero]
    lines = _printed(rows).splitlines()
    assert lines[0].split() == ["attack", "model", "clean", "0/255", "0.5/255", "2/255", "8/255"]
    assert next(text for text in lines if "DW-Conv" in text).split()[2:] == ["78.0", "70.0", "61.0", "34.0", "12.0"]
    (figure,) = robustness_figures(frame(rows)).values()
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["clean", "0/255", "0.5/255", "2/255", "8/255"]


def test_table_fits_a_narrow_terminal() -> None:
    rows = [*of_five(), *of_five(definition="torchattacks.apgd100.v3.5.1", value=1.0, ci_low=0.98, ci_high=1.0)]
    text = _printed([*rows, *attacked(model="timm:a_model_with_an_uncommonly_long_name", mixer=None, scale=None)])
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("98.0–100.0") == 20
    assert "…" not in text


def test_failed_check_is_marked_and_explained() -> None:
    assert "suspect" not in _printed(of_five())
    text = _printed([*attacked(), *attacked(definition=PGD, status="suspect", reason="it rises")])
    assert text.count("%") > 0
    assert "12.0*" in text
    assert "* suspect" in text


def test_significant_mcnemar_differences_are_listed() -> None:
    pair = {"baseline": "unified_sr_attn_micro", "metric": "mcnemar_p_holm", "ci_low": None, "ci_high": None}
    tests = attacked(value=0.003, **pair)
    text = _printed([*attacked(), *attacked("sr_attn"), *tests])
    assert "4 of 4 comparisons of 1 pair of models" in text
    assert "DW-Conv against SR-Attn: p = 0.003 (FGSM, 8/255)" in text
    unsure = _printed([*attacked(), *attacked("sr_attn"), *attacked(value=0.2, **pair)])
    assert "0 of 4 comparisons" in unsure


def test_conditions_are_printed_once() -> None:
    text = " ".join(_printed(of_five()).split())
    assert "digits · test · 200 images · 224 px · fp32 · cpu · random init · accuracy in %, 95 % intervals" in text
    assert "random init" not in _printed(of_five(weights="a.pth:0123"))


def test_without_rows_there_is_no_table() -> None:
    with pytest.raises(TableError, match="stmbench robustness"):
        robustness_table(frame(attacked(analysis="eval")))
