"""`stmbench list` prints what is registered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stmbench.mixers import BUILTIN
from tests.commands import run

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "my_mixer.py")


def test_mixers_is_table_one() -> None:
    result = run.stmbench("list", "mixers")
    assert result.exit_code == 0
    for name in BUILTIN:
        assert name in result.stdout
    for fact in (
        "depends on N",
        "α, β",
        "L, L",
        "NeurIPS 2021",
        "learned",
        "static",
        "Halo-Attn",
        "ICCV 2021",
        "kv.bias (the keys' half)",
    ):
        assert fact in result.stdout


def test_mixers_as_json() -> None:
    result = run.stmbench("list", "mixers", "--json")
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == list(BUILTIN)
    assert result.stderr == ""
    by_name = {row["name"]: row for row in rows}
    assert by_name["dw_conv"]["weights"] == "static"
    assert (by_name["dw_conv"]["alpha"], by_name["dw_conv"]["beta"]) == ("0", "1")
    assert (by_name["container"]["alpha"], by_name["container"]["beta"]) == ("learned", "learned")
    assert by_name["dcnv3"]["sampling"] == "learned"
    assert [item["parameter"] for item in by_name["sr_attn"]["zero_gradient"]] == ["kv.bias"]
    assert "kernel" in by_name["dw_conv"]["options"]
    assert by_name["dw_conv"]["scales"] == ["nano", "micro", "tiny", "small", "base"]


def test_a_plugin_is_listed() -> None:
    rows = json.loads(run.stmbench("list", "mixers", "--json", "--plugin", EXAMPLE).stdout)
    assert rows[-1]["name"] == "strip_modulation"
    assert len(rows[-1]["plugin_sha256"]) == 64


@pytest.mark.parametrize("as_json", [False, True])
def test_models_of_a_pattern(as_json: bool) -> None:
    result = run.stmbench("list", "models", "unified_*_micro", *(["--json"] if as_json else []))
    names = json.loads(result.stdout) if as_json else result.stdout.split()
    assert names == [f"unified_{name}_micro" for name in BUILTIN]


def test_models_of_a_plugin() -> None:
    result = run.stmbench("list", "models", "*strip*", "--plugin", EXAMPLE)
    assert "unified_strip_modulation_micro" in result.stdout.split()


def test_models_of_timm() -> None:
    assert "timm:resnet18" in run.stmbench("list", "models", "timm:resnet1*").stdout.split()


def test_architectures() -> None:
    rows = json.loads(run.stmbench("list", "architectures", "--json").stdout)
    assert "unified" in [row["name"] for row in rows]
    assert all(row["title"] and row["citation"] for row in rows)
    assert "unified" in run.stmbench("list", "architectures").stdout
