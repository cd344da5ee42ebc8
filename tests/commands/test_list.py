"""`stmbench list` prints what is registered."""

from __future__ import annotations

import json
import shlex
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
    if as_json:
        models = [tuple(row.values()) for row in json.loads(result.stdout)]
    else:
        models = [tuple(line.split("  ", 1)) for line in result.stdout.splitlines()]
    assert [name for name, _ in models] == [f"unified_{name}_micro" for name in BUILTIN]
    assert models[0][1].strip() == "Halo Attention · Unified architecture · micro"


SEARCHES = {
    "models HALO_attn_tiny": ["unified_halo_attn_tiny", "container_halo_attn_tiny", "cotnet_halo_attn_tiny"],
    "models cotnet101": ["cotnet101"],
    "models 'window (swin) attention · isotropic architecture (deit) · nano'": ["isotropic_sw_attn_nano"],
    "models timm:resnet18d": ["timm:resnet18d"],
    "mixers halo": ["halo_attn"],
    "mixers swin": ["sw_attn"],
    "mixers 'cot_*'": ["cot_static", "cot_dynamic", "cot_linear_fusion"],
    "architectures deit": ["isotropic"],
}


@pytest.mark.parametrize("words", SEARCHES)
def test_a_part_of_a_name_or_title_is_searched_for(words: str) -> None:
    rows = json.loads(run.stmbench("list", *shlex.split(words), "--json").stdout)
    names = [row["name"] for row in rows]
    assert names[: len(SEARCHES[words])] == SEARCHES[words]
    assert len(names) <= 6, "nothing else is found"


@pytest.mark.parametrize("what", ["models", "mixers", "architectures"])
def test_nothing_found_is_an_error_with_suggestions(what: str) -> None:
    result = run.stmbench("list", what, "unifid_halo_attn_tiny")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "unifid_halo_attn_tiny" in result.stderr


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


def test_bundled_experiments_with_their_titles() -> None:
    rows = json.loads(run.stmbench("list", "experiments", "--json").stdout)
    assert {"name", "title", "file"} == set(rows[0])
    assert "quickstart" in [row["name"] for row in rows]
    assert all(Path(row["file"]).is_file() for row in rows)
    listed = json.loads(run.stmbench("list", "experiments", "FGSM", "--json").stdout)
    assert [row["name"] for row in listed] == ["stm_fig8"]
    assert "stm_fig8" in run.stmbench("list", "experiments").stdout
    assert "did you mean stm_table3" in run.refusal("list", "experiments", "stm_tabel3")


def test_bundled_examples() -> None:
    paths = run.stmbench("list", "examples").stdout.split()
    assert EXAMPLE in paths
    rows = json.loads(run.stmbench("list", "examples", "--json").stdout)
    assert [row["file"] for row in rows] == paths
