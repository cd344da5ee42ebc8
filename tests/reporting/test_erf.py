"""Receptive fields on the screen and in a report: other percentages, many stages, sizes above the image's."""

from __future__ import annotations

import dataclasses
from io import StringIO

import pytest
from rich.console import Console

from stmbench.analyses.erf.terminal import erf_table
from stmbench.reporting import build_report
from stmbench.tables import Row
from tests.tables.robustness_frames import attacked, frame

OURS = "stmbench.magnitude.linear.v1"
MIXERS = ("dw_conv", "sr_attn")


def fields(*, stages: int = 4, level: float = 50.0, least: float = 0.2) -> list[Row]:
    return [
        dataclasses.replace(
            attacked(mixer)[0], analysis="erf", definition=OURS, metric="erf", unit="input_side", stage=stage,
            level=level, value=least + 0.05 * stage, ci_low=least + 0.05 * stage - 0.01,
            ci_high=least + 0.05 * stage + 0.01, num_images=28,
        )
        for mixer in MIXERS
        for stage in range(stages)
    ]  # fmt: skip


def printed(rows: list[Row], width: int = 80) -> str:
    stream = StringIO()
    Console(file=stream, width=width).print(erf_table(frame(rows), OURS))
    return stream.getvalue()


def test_model_names_are_not_truncated_by_twelve_stages() -> None:
    lines = printed(fields(stages=12)).splitlines()
    names = [line for line in lines if "DW-Conv" in line]
    assert len(names) == 3  # one table for every four stages
    heads = [line for line in lines if line.startswith("model")]
    assert [head.split().count("stage") for head in heads] == [4, 4, 4]
    for stage in range(12):
        assert any(f"{0.2 + 0.05 * stage:.3f}" in line for line in names)


def test_a_field_larger_than_the_image_is_explained() -> None:
    said = "A size above 1 is that of a square that reaches beyond the image"
    assert said in " ".join(printed(fields(least=0.9)).split())
    assert said not in " ".join(printed(fields()).split())
    for least, times in ((0.9, 1), (0.2, 0)):
        (section,) = build_report(frame(fields(least=least))).sections
        assert sum(said in caveat.text for caveat in section.caveats) == times


@pytest.mark.parametrize("level", [50.0, 90.0, 99.5])
def test_every_percentage_is_shown(level: float) -> None:
    (section,) = build_report(frame(fields(level=level))).sections
    assert section.lead.startswith(f"ERF@{level:g} of the last stage is largest for ")
    (table,) = section.tables
    assert {column.unit for column in table.columns[1:]} == {f"ERF@{level:g}"}
    assert [cell.text for cell in table.lines[0].cells[1:]] == ["0.200", "0.250", "0.300", "0.350"]


def test_the_lead_is_on_averages_over_seeds() -> None:
    rows = [
        dataclasses.replace(row, weights=f"digits.e1.s{seed}:{model}{seed}", model=model, value=value)
        for model, values in {"unified_dw_conv_nano": (0.1, 0.5), "unified_halo_attn_nano": (0.4, 0.4)}.items()
        for seed, value in enumerate(values)
        for row in fields()
        if row.stage == 3
    ]
    (section,) = build_report(frame(rows)).sections
    assert section.lead == (
        "ERF@50 of the last stage is largest for unified_halo_attn_nano (0.400 of the input's side, mean of 2 seeds) "
        "and least for unified_dw_conv_nano (0.300)."
    )
