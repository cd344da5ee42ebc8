"""The papers' tables, and what was counted beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stmbench.errors import TableError, UnknownNameError
from stmbench.tables import frame_of
from stmbench.tables import published as module
from stmbench.tables.published import published, published_names
from stmbench.tables.published_comparison import compare_with_table3
from tests.tables.frames import failed_row, profile_frame, profile_rows


@pytest.mark.parametrize("name", published_names())
def test_every_table_has_rows_and_names_its_source(name: str) -> None:
    table = published(name)
    assert len(table) >= 4
    assert any(paper in table.attrs["source"] for paper in ("Hu et al.", "Gao et al.", "Li et al."))
    assert "Table" in table.attrs["source"]
    assert not table.columns.duplicated().any()


def test_table_three_has_every_mixer_at_every_scale() -> None:
    table = published("stm_table3_imagenet")
    assert len(published_names()) == 13
    assert len(table.groupby(["mixer", "scale"])) == len(table) == 20


def test_unknown_table_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean stm_table3_imagenet"):
        published("stm_table3_imagnet")


def test_a_table_without_its_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bundled", lambda kind: tmp_path)
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(TableError, match="a first line that starts with"):
        published("a")


def test_comparison_joins_in_base_units() -> None:
    table = compare_with_table3(profile_frame(), published("stm_table3_imagenet"))
    assert list(table.columns) == ["mixer", "scale", "metric", "unit", "measured", "published", "difference"]
    assert len(table) == 10
    row = table[(table["mixer"] == "halo_attn") & (table["metric"] == "params")].iloc[0]
    assert row["measured"] == pytest.approx(4.36e6)
    assert row["published"] == pytest.approx(4.4e6)
    assert row["difference"] == pytest.approx(4.36 / 4.4 - 1)
    assert set(table["unit"]) == {"count", "MAC"}


def test_comparison_leaves_out_what_the_paper_did_not_count() -> None:
    def changed(**fields: object) -> list:
        return [dataclasses.replace(row, **fields) for row in profile_rows(["dw_conv"]) if row.metric == "params"]

    table3 = published("stm_table3_imagenet")
    stage = changed(stage=0)
    options = changed(model="unified_dw_conv_micro[design=C]")
    for rows in (stage, options, changed(scale="nano", model="unified_dw_conv_nano"), [failed_row()]):
        with pytest.raises(TableError, match="Table III"):
            compare_with_table3(frame_of(rows), table3)
    macs = [row for row in profile_rows(["dw_conv"]) if row.metric == "macs_published_convention"]
    with pytest.raises(TableError, match="Table III"):
        compare_with_table3(frame_of([dataclasses.replace(row, resolution=256) for row in macs]), table3)
