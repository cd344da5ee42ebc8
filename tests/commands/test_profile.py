"""`stmbench profile` from the command line to what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stmbench.tables import COLUMNS, read
from tests.commands import run

NANO = ("--scale", "nano", "--mixers", "dw_conv,sr_attn")


def test_costs_of_two_mixers(tmp_path: Path) -> None:
    result = run.stmbench("profile", *NANO, "--no-timing", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "DW-Conv" in result.stdout
    assert "2 units of work measured" in result.stderr
    assert set(read(tmp_path)["model"]) == {"unified_dw_conv_nano", "unified_sr_attn_nano"}
    assert (tmp_path / "profile.html").is_file()
    again = run.stmbench("profile", *NANO, "--no-timing", "--out", str(tmp_path))
    assert "0 units of work measured, 2 taken from the store" in again.stderr


def test_json_is_all_that_standard_output_gets(tmp_path: Path) -> None:
    result = run.stmbench("profile", *NANO, "--no-timing", "--json", "--out", str(tmp_path))
    rows = json.loads(result.stdout)
    assert len(rows) == len(read(tmp_path))
    assert all(tuple(row) == COLUMNS for row in rows)
    params = {row["model"]: row["value"] for row in rows if row["metric"] == "params"}
    assert all(value > 0 for value in params.values())
    assert rows[0]["created_utc"].endswith("+00:00")
    assert rows[0]["ci_low"] is None


def test_a_timed_profile_leaves_rows_figures_and_a_page(tmp_path: Path) -> None:
    arguments = ("--models", "unified_dw_conv_nano", "--batch-size", "2", "--time-budget", "0.1", "--threads", "1")
    result = run.stmbench("profile", *arguments, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    frame = read(tmp_path)
    summary = frame[frame["kind"] == "summary"].set_index("metric")["value"]
    assert summary["throughput"] > 0
    assert summary["peak_memory"] > 2**20
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    for name in ("latency", "roofline"):  # of one model there is nothing to compare
        assert {f"{name}.svg", f"{name}.png"} <= figures
    page = (tmp_path / "profile.html").read_text()
    assert "unified_dw_conv_nano" in page
    assert all(line.partition("  ")[0] in result.stderr for line in ("page", "figures", "rows"))


def test_only_rows_of_this_run_are_shown(tmp_path: Path) -> None:
    run.stmbench("profile", "--models", "unified_sr_attn_nano", "--no-timing", "--out", str(tmp_path))
    result = run.stmbench(
        "profile", "--models", "unified_dw_conv_nano", "--no-timing", "--json", "--out", str(tmp_path)
    )
    assert {row["model"] for row in json.loads(result.stdout)} == {"unified_dw_conv_nano"}
    assert len(read(tmp_path)["model"].unique()) == 2


def test_a_plugin_is_profiled_beside_the_others(tmp_path: Path) -> None:
    plugin = tmp_path / "identity.py"
    plugin.write_text(
        "from torch import nn\n"
        "from stmbench.mixers.base import MixerConfig, register_mixer\n\n"
        "@register_mixer('passthrough', config=MixerConfig)\n"
        "class Identity(nn.Module):\n"
        "    def __init__(self, config):\n        super().__init__()\n\n"
        "    def forward(self, x):\n        return x\n"
    )
    out = tmp_path / "store"
    arguments = ("--plugin", str(plugin), "--mixers", "passthrough,dw_conv", "--scale", "nano", "--no-timing")
    result = run.stmbench("profile", *arguments, "--json", "--out", str(out))
    rows = json.loads(result.stdout)
    shares = {
        row["model"]: row["value"] for row in rows if row["metric"] == "part_macs" and row["condition"] == "mixers"
    }
    assert shares["unified_dw_conv_nano"] > 0
    assert shares["unified_passthrough_nano"] == 0


@pytest.mark.parametrize("selection", [["--scale", "nano"], ["--mixers", "dw_conv"], ["--architecture", "unified"]])
def test_models_are_chosen_one_way(tmp_path: Path, selection: list[str]) -> None:
    refusal = run.refusal("profile", "--models", "unified_dw_conv_nano", *selection, "--out", str(tmp_path / "store"))
    assert refusal.startswith(f"expected models by name or by scale, got --models and {selection[0]}")
