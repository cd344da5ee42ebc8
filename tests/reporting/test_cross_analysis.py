"""Comparison with published figures: differences where they are meaningful, dashes elsewhere."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from stmbench.reporting.cross_analysis import against_published_section, against_published_table
from stmbench.tables.published import COLUMNS

MODEL = "cotnet_cot_tiny"


def _row(metric: str, measured: float | None, difference: float | None, **more: object) -> dict[str, object]:
    known = dict.fromkeys(COLUMNS)
    values: dict[str, object] = {
        "model": MODEL,
        "label": "CoT",
        "table": "cot_table5_context_ablation",
        "column": metric,
    }
    kind = "points" if metric == "accuracy" else "relative"
    published = 0.792 if kind == "points" else 22.2e6
    values |= {"metric": metric, "measured": measured, "published": published, "difference": difference}
    return {**known, **values, "difference_kind": kind, **more}


FRAME = pd.DataFrame(
    [
        _row("params", 22.22e6, 0.0009, unit="count"),
        _row("accuracy", None, None, unit="1"),
        _row("accuracy", 0.791, -0.1, unit="1", weights="imagenet.e100.s0:1"),
        _row("accuracy", 0.001, -79.1, unit="1", weights="random:0"),
    ]
)


def _cells() -> list[list[str]]:
    section = against_published_section(FRAME)
    return [[cell.text for cell in line.cells] for line in section.tables[0].lines]


@pytest.mark.parametrize(
    ("place", "measured", "difference"),
    [(0, "22.22", "+0.09 %"), (1, "–", "–"), (2, "79.1", "-0.1 points"), (3, "0.1", "–")],
    ids=["cost", "not measured", "trained", "untrained"],
)
def test_difference_to_control_is_shown_where_defined(place: int, measured: str, difference: str) -> None:
    cells = _cells()[place]
    assert (cells[2], cells[4]) == (measured, difference)


def test_number_of_seeds_is_stated() -> None:
    frame = pd.DataFrame(
        [
            _row("accuracy", 0.791, -0.1, unit="1", weights="imagenet.e100.s0:1", runs=3, deviation=0.004),
            _row("params", 22.22e6, 0.0009, unit="count", runs=3, deviation=0.0),
        ]
    )
    lines = against_published_section(frame).tables[0].lines
    assert [line.cells[2].detail for line in lines] == ["3 seeds, SD 0.4", ""]


def test_section_counts_values_and_names_the_paper() -> None:
    section = against_published_section(FRAME)
    assert section.lead == "3 of 4 published values have a measured counterpart."
    assert "Contextual Transformer Networks" in section.tables[0].note
    assert {line.model for line in section.tables[0].lines} == {MODEL}


def test_the_terminal_shows_the_same_cells() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(against_published_table(FRAME))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(cell in text for cells in _cells() for cell in cells)
