"""`--match`: a model that no width matches is left out with its reason, and the others are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import stmbench as sb
from stmbench.errors import InputError
from stmbench.plugins import load_plugin, unload_plugins
from stmbench.studies.design import design
from stmbench.studies.options import StudyOptions
from tests.commands import run

WIDE = """
import dataclasses

from torch import nn
from stmbench.errors import require
from stmbench.mixers.base import MixerConfig, register_mixer


@dataclasses.dataclass(frozen=True, kw_only=True)
class WideConfig(MixerConfig):
    def __post_init__(self):
        super().__post_init__()
        require(self.dim % MULTIPLE == 0, "dim divisible by MULTIPLE", self.dim)


@register_mixer("wide", config=WideConfig, channel_multiple=MULTIPLE)
class Wide(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return x
"""
MODELS = ("unified_dw_conv_nano", "unified_wide_nano", "unified_pooling_nano")
REASON = "expected a width of unified_wide_nano within 5% of "
NEAREST = "at the nearest one (unified_wide_nano[dims=480-480-480-480]); "
COMMON = ("--match", "params", "--no-timing")


def _plugin(folder: Path, multiple: int) -> str:
    file = folder / f"wide{multiple}.py"
    file.write_text(WIDE.replace("MULTIPLE", str(multiple)))
    return str(file)


def test_the_others_are_measured(tmp_path: Path) -> None:
    chosen = [*COMMON, "--out", str(tmp_path / "store"), "--plugin", _plugin(tmp_path, 480)]
    result = run.stmbench("profile", *MODELS, *chosen, "--json")
    assert result.exit_code == 1, result.output
    said = " ".join(result.stderr.split())
    assert f"skipped: unified_wide_nano: {REASON}" in said
    assert NEAREST in said
    assert "unified_dw_conv_nano has a network of its own: left as it is" in said
    assert "2 units of work measured, 1 skipped" in said
    rows = json.loads(result.stdout)
    measured = {row["model"] for row in rows if row["status"] == "ok"}
    assert len(measured) == 2
    assert "unified_dw_conv_nano" in measured
    (row,) = [row for row in rows if row["model"] == "unified_wide_nano"]
    assert (row["status"], row["value"], row["mixer"]) == ("skipped", None, "wide")
    assert row["reason"].startswith(REASON)
    assert row["reason"] in (tmp_path / "store" / "profile.html").read_text("utf-8")


def test_a_model_that_is_matched_later_is_no_longer_said_to_be_left_out(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for multiple, code in ((480, 1), (8, 0)):
        chosen = [*COMMON, "--out", str(store), "--plugin", _plugin(tmp_path, multiple)]
        assert run.stmbench("profile", *MODELS[:2], *chosen).exit_code == code
        assert (sb.read(store).table["status"] == "skipped").sum() == code
        unload_plugins()


def test_a_dry_run_says_which_is_left_out(tmp_path: Path) -> None:
    chosen = [*COMMON, "--out", str(tmp_path / "store"), "--dry-run", "--plugin", _plugin(tmp_path, 480)]
    result = run.stmbench("profile", *MODELS[:2], *chosen)
    assert result.exit_code == 0
    assert f"skipped: unified_wide_nano: {REASON}" in " ".join(result.stderr.split())
    assert not (tmp_path / "store").exists()


def test_a_result_in_python_names_it(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"match": "params", "timing": False, "plugins": _plugin(tmp_path, 480), "progress": False}
    result = sb.profile(list(MODELS[:2]), **chosen)
    (failure,) = result.failures
    assert failure.startswith(f"unified_wide_nano: {REASON}")
    assert "unified_dw_conv_nano has a network of its own: left as it is" in result.warnings


def test_a_study_of_a_mixer_that_cannot_be_matched_is_refused(tmp_path: Path) -> None:
    load_plugin(_plugin(tmp_path, 480))
    with pytest.raises(InputError, match=r"within 5% of .* at the nearest one"):
        design(StudyOptions(mixer="wide"))
