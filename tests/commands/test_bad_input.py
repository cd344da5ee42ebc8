"""What a user can get wrong: one line, expected and got, the remedy, exit code 2, and nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stmbench.mixers.base import MIXERS
from tests.commands import run

ROOT = Path(__file__).parents[2]

PROFILE = [
    (["--models", "unified_halo_atn_micro"], "expected a mixer, got 'halo_atn'", "did you mean halo_attn"),
    (["--models", "unified_halo_attn_micr"], "expected a scale, got 'micr'", "did you mean micro"),
    (["--models", "resnet50"], "expected a model, got 'resnet50'", "did you mean timm:resnet50"),
    (["--models", "timm:resnet5"], "expected a timm model, got 'resnet5'", "did you mean resnet"),
    (["--models", "unified_dw_conv_nano[kernal=3]"], "expected ", "kernal"),
    (["--models", "unified_dw_conv_nano[kernel=2]"], "expected an odd kernel", "got 2"),
    (["--models", "unified_ss2d_nano[ssm_ratio=nan]"], "expected a finite number for ssm_ratio, got nan", "change"),
    (["--models", "unified_dw_conv_nano[kernel=3"], "expected ", "bracket"),
    (["--mixers", "dw_conf"], "expected a mixer, got 'dw_conf'", "did you mean dw_conv"),
    (["--scale", "micor"], "expected a scale, got 'micor'", "did you mean micro"),
    (["--dtype", "fp8"], "expected a dtype, got 'fp8'", "did you mean"),
    (["--device", "cupa"], "expected a device, got 'cupa'", "cpu?"),
    (["--device", "cuda:99"], "expected a device", "cuda:99"),
    (["--resolution", "0"], "expected a resolution of at least 1, got '0'", "--resolution"),
    (["--resolution", "224x0"], "expected a resolution of at least 1, got '224x0'", "--resolution"),
    (["--resolution", "large"], "expected a resolution such as 224 or 224x320, got 'large'", "--resolution"),
    (["--batch-size", "0"], "expected a batch size", "--batch-size"),
    (["--batch-size", "many"], "expected a batch size", "many"),
    (["--threads", "0"], "expected --threads to be greater than or equal to 1, got '0'", "--help"),
    (["--seed", "x"], "expected --seed to be a valid integer, got 'x'", "--help"),
    (["--time-budget=long"], "expected --time-budget to be a valid number, got 'long'", "--help"),
    (["--target-width", "0"], "expected a target width above 0", "--target-width"),
    (["--time-budget", "-1"], "expected a time budget above 0", "--time-budget"),
    (["--mode", "trian"], "expected ", "train"),
    (["--level", "block"], "expected ", "operator"),
    (["--match", "flops"], "expected ", "macs"),
    (["--images", "fotos"], "expected ", "photos"),
    (
        ["--resolutoin", "64"],
        "expected an option of `stmbench profile`, got '--resolutoin'",
        "did you mean --resolution",
    ),
]
# command lines of every command that are refused before anything is done: what is expected, and a word of the rest
SOUND = """
from torch import nn
from stmbench.mixers.base import MixerConfig, register_mixer


@register_mixer("passthrough", config=MixerConfig)
class Identity(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return x
"""
PLUGINS = [
    ("does not import", "import not_a_module_at_all\n", "expected a plug-in that imports", "plug.py:1"),
    ("registers nothing", "x = 1\n", "expected a mixer, a model or an analysis registered by", "register_mixer"),
    (
        "changes the shape",
        SOUND.replace("return x", "return x[:, 1:]"),
        "expected passthrough to map",
        "(1, 13, 14, 64)",
    ),
    ("repeats a name", SOUND.replace("passthrough", "dw_conv"), "expected a mixer name that is free", "dw_conv"),
]
# every command that could run a plug-in, with what it needs besides
COMMANDS = [
    ["list", "mixers"],
    ["list", "models"],
    ["check", "dw_conv"],
    ["new", "mixer", "mine"],
    ["profile"],
    ["eval"],
    ["export", "."],
]


@pytest.mark.parametrize(("args", "line", "piece"), PROFILE, ids=[" ".join(case[0]) for case in PROFILE])
def test_profile_refuses(tmp_path: Path, args: list[str], line: str, piece: str) -> None:
    out = tmp_path / "store"
    scale = [] if {"--scale", "--models"} & set(args) else ["--scale", "nano"]
    refusal = run.refusal("profile", *scale, "--no-timing", "--out", str(out), *args)
    assert refusal.startswith(line)
    assert piece in refusal
    assert not out.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("text", "line", "piece"), [case[1:] for case in PLUGINS], ids=[case[0] for case in PLUGINS])
def test_a_plugin_that_cannot_be_used_is_refused_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], text: str, line: str, piece: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug.py").write_text(text)
    before = MIXERS.names()
    refusal = run.refusal(*command, "--plugin", "plug.py")
    assert refusal.startswith(line)
    assert piece in refusal
    assert MIXERS.names() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plug.py"]


def test_only_the_plugin_that_was_named_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named.py").write_text(SOUND)
    (tmp_path / "other.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    assert run.stmbench("list", "mixers", "--plugin", "named.py").exit_code == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("inside", ["file", "file/store"])
def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("precious")
    refusal = run.refusal("profile", "--scale", "nano", "--no-timing", "--out", str(tmp_path / inside))
    assert "expected a folder that can be written" in refusal
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refusal = run.refusal("profile", "--scale", "nano", "--no-timing", "--out", str(tmp_path / "store"))
    assert "Permission denied" in refusal


def test_a_pattern_that_matches_no_model() -> None:
    assert run.refusal("list", "models", "unified_hallo*").startswith("expected a model or a pattern that matches one")
