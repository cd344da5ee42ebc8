"""`stmbench affinity` from the command line to what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stmbench.tables import COLUMNS, read
from tests.commands import run

NANO = ("affinity", "--scale", "nano", "--device", "cpu", "--dataset", "digits", "--num-images", "2")


def test_it_leaves_a_table_figures_and_rows(tmp_path: Path) -> None:
    result = run.stmbench(*NANO, "--mixers", "sw_attn,dw_conv", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    for piece in ("SW-Attn", "DW-Conv", "distance", "entropy", "3.5 tokens", "digits", "2 images", "random init"):
        assert piece in result.stdout, piece
    assert "untrained, weights are random init" in result.stderr
    drawn = {path.name for path in (tmp_path / "figures").glob("*.svg")}
    assert drawn == {"attention_distance.svg", "locality.svg", "maps.svg", "maps_SW-Attn.svg", "maps_DW-Conv.svg"}
    assert "random init" in (tmp_path / "figures" / "maps.svg").read_text(encoding="utf-8")
    assert set(read(tmp_path)["analysis"]) == {"affinity"}


def test_json_is_all_that_standard_output_gets(tmp_path: Path) -> None:
    result = run.stmbench(
        *NANO, "--mixers", "dcnv3", "--layers", "1,2", "--positions", "0,9", "--heads", "0,mean", "--per-image",
        "--radii", "2", "--json", "--out", str(tmp_path),
    )  # fmt: skip
    rows = json.loads(result.stdout)
    assert all(tuple(row) == COLUMNS for row in rows)
    assert {row["level"] for row in rows if row["metric"] == "mass_within"} == {2.0}
    assert {row["position"] for row in rows if row["metric"] == "affinity_map"} == {0, 9}


def test_the_jacobian_of_blocks(tmp_path: Path) -> None:
    result = run.stmbench(
        *NANO, "--mixers", "dw_conv", "--jacobian", "block", "--positions", "0", "--json", "--out", str(tmp_path)
    )
    assert result.exit_code == 0, result.output
    assert {row["definition"] for row in json.loads(result.stdout)} == {"affinity.jacobian.v1"}
    assert [path.name for path in (tmp_path / "figures").glob("*.svg")] == ["maps_DW-Conv.svg"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--positions", "64"), "positions 0 to 63 in layer 1"),
        (("--positions", "x"), "whole numbers such as 25,50, got 'x'"),
        (("--layers", "9"), "layers 1 to 8 of unified_dw_conv_nano, got 9"),
        (("--layers", "0"), "layers as first, last, all, numbers from 1 or STAGE.BLOCK"),
        (("--heads", "mean,16"), "heads 0 to 15 in layer 1, got 16"),
        (("--radii", "near"), "expected numbers such as 1.5,3.5, got 'near'"),
        (("--jacobian", "model"), "a value for --jacobian, got 'model'"),
        (("--jacobian", "mixer", "--heads", "1"), "no heads with --jacobian"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    out = tmp_path / "store"
    result = run.stmbench(*NANO, "--mixers", "dw_conv", *options, "--out", str(out))
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_a_mixer_without_an_affinity_is_told_of_the_jacobian(tmp_path: Path) -> None:
    plugin = Path(__file__).parents[2] / "examples" / "my_mixer.py"
    words = ("--mixers", "strip_modulation", "--plugin", str(plugin), "--jacobian", "none")
    result = run.stmbench(*NANO, *words, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "unified_strip_modulation_nano, without any" in " ".join(result.stderr.split())
    assert result.stderr.rstrip().endswith("--jacobian mixer"), "to be pasted as it is"
