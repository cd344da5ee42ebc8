"""The overview in a terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from stmbench.analyses.profile.terminal import profile_table
from stmbench.errors import TableError
from stmbench.tables import Row, frame_of
from tests.tables.frames import failed_row, profile_frame, profile_rows, with_attrs


def shown(frame) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    console.print(profile_table(frame))
    return console.file.getvalue().splitlines()


def test_profile_table_of_five_mixers() -> None:
    lines = shown(profile_frame())
    assert max(map(len, lines)) <= 100
    row = next(line for line in lines if line.startswith("DW-Conv")).split()
    assert row == ["DW-Conv", "4.42", "0.648", "131.0", "2.148", "10.31", "16.03", "268", "1–2"]
    assert next(line for line in lines if line.startswith("Halo-Attn")).split()[4] == "1"
    assert any("129.0–132.8" in line for line in lines)
    assert next(line for line in lines if line.startswith("DCNv3")).split()[4] == "0.852*"
    assert any(line.startswith("* the 95 % interval is wider") for line in lines)


def test_model_options_are_not_truncated_within_100_columns() -> None:
    name = "unified_dw_conv_micro[design=C,drop_path_rate=0.05]"
    rows = [dataclasses.replace(row, model=name) for row in profile_rows(["dw_conv"]) if row.model]
    lines = shown(with_attrs(frame_of(rows)))
    assert max(map(len, lines)) <= 100
    assert "DW-Conv, design=C,drop_path_rate=0.05" in "".join(line[:28].strip() for line in lines)


def test_failed_and_missing_values_are_dashes() -> None:
    lines = shown(with_attrs(frame_of([*profile_rows(["dw_conv"]), failed_row(reason="out of memory [8 GiB]")])))
    assert "unified_dcnv3_huge: failed, out of memory [8 GiB]" in "\n".join(line.rstrip() for line in lines)
    counted = [row for row in profile_rows(["dw_conv"]) if row.metric in ("params", "macs")]
    row = next(line for line in shown(with_attrs(frame_of(counted))) if line.startswith("DW-Conv")).split()
    assert row == ["DW-Conv", "4.42", "0.648", *["–"] * 6]


def test_sizes_without_timing_are_all_shown() -> None:
    timed = [row for row in profile_rows(["dw_conv"]) if row.model]
    counted = [row for row in timed if row.metric in ("params", "macs")]
    larger = [dataclasses.replace(row, resolution=320, dataset="noise:3x320x320") for row in counted]
    wide = [dataclasses.replace(row, resolution="224x320", dataset="noise:3x224x320") for row in counted]

    def models(rows: list[Row]) -> list[str]:
        lines = shown(with_attrs(frame_of(rows)))
        return [line.split("  ")[0] for line in lines if line.startswith("DW-Conv")]

    square = [dataclasses.replace(row, dataset="noise:3x224x224") for row in timed]
    assert len(models([*square, *larger, *wide])) == 3
    small = [row for row in square if row.metric in ("params", "macs")]
    assert models([*small, *larger, *wide]) == ["DW-Conv · 224 px", "DW-Conv · 320 px", "DW-Conv · 224x320 px"]


def test_without_profile_rows_there_is_no_table() -> None:
    with pytest.raises(TableError, match="profile"):
        profile_table(frame_of([]))
