"""Ranks agree with the probabilities that stand beside them."""

from __future__ import annotations

import dataclasses

import pytest

from stmbench.analyses.profile.terminal import Ranks
from stmbench.reporting import build_report
from stmbench.tables import frame_of
from tests.tables.frames import profile_rows, with_attrs


@pytest.mark.parametrize(
    ("probabilities", "words", "detail"),
    [
        ((0.0, 0.0, 0.68, 0.32), "3–4", "68, 32 %"),
        ((0.0, 0.0, 0.32, 0.68), "3–4", "32, 68 %"),
        ((0.99, 0.01, 0.0, 0.0), "1", "99 %"),
        ((0.02, 0.96, 0.02, 0.0), "2", "96 %"),
        ((0.02, 0.9, 0.06, 0.02), "2–3", "90, 6 %"),
        ((0.1, 0.2, 0.4, 0.3), "1–4", "40 % to be 3"),
        ((1.0,), "1", "100 %"),
    ],
)
def test_uncertain_rank_is_a_range(probabilities: tuple[float, ...], words: str, detail: str) -> None:
    ranks = Ranks(probabilities=dict(enumerate(probabilities, start=1)))
    assert (ranks.words, ranks.detail) == (words, detail)


def test_indistinguishable_models_have_a_rank_range_in_the_report() -> None:
    chances = {"dw_conv": (0.68, 0.32), "sr_attn": (0.32, 0.68)}
    rows = [
        dataclasses.replace(row, value=chances[str(row.mixer)][int(row.level or 0) - 1])
        if row.metric == "rank_probability"
        else row
        for row in profile_rows(list(chances))
    ]
    (section,) = [s for s in build_report(with_attrs(frame_of(rows))).sections if s.name == "profile"]
    table = next(table for table in section.tables if table.name == "profile")
    cells = {line.cells[0].text: line.cells[-1] for line in table.lines}
    assert {name: (cell.text, cell.detail) for name, cell in cells.items()} == {
        "DW-Conv": ("1–2", "68, 32 %"),
        "SR-Attn": ("1–2", "32, 68 %"),
    }
    assert "It is the fastest with a probability of 68 %" in section.lead
