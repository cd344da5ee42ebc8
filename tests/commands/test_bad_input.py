"""What a user can get wrong: one line, expected and got, the remedy, exit code 2, and nothing half-written."""

from __future__ import annotations

import os
import shlex
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
LINES = [
    # empty words, as unset variables of a script give them
    *(
        (f"{command} {option} ''", f"a value after `{option}`, got ''")
        for command, option in [
            ("profile", "--models"),
            ("eval", "--models"),
            ("eval", "--dataset"),
            ("erf", "--stages"),
            ("train", "--out"),
            ("robustness", "--attacks"),
            ("affinity", "--layers"),
            ("invariance scale", "--levels"),
            ("run x", "--weights"),
            ("profile", "-m"),
            ("report x", "-f"),
            ("compare a b", "--models"),
            ("history list", "--machine"),
        ]
    ),
    *(
        (f"{command} ''", f"a value after `{command.split()[-1]}`, got ''")
        for command in [
            "report",
            "export",
            "run",
            "check",
            "dashboard",
            "history add",
            "list models",
            "new mixer",
            "compare x",
        ]
    ),
    ("profile --models ,", "a value after `--models`, got ','"),
    ("profile --models=", "a value after `--models`, got ''"),
    ("invariance translation '--levels= , '", "a value after `--levels`, got ' , '"),
    # an option where the one before it has no value
    (
        "affinity --jacobian --out x",
        "a value after `--jacobian`, got '--out'; give the value, or write --jacobian=--out",
    ),
    ("profile --models --json", "a value after `--models`, got '--json'"),
    ("eval -m --json", "a value after `-m`, got '--json'"),
    ("invariance scale --levels --no-such", "a value after `--levels`, got '--no-such'"),
    # numbers beyond all measure, and none
    ("profile --seed 18446744073709551616", "--seed"),
    ("eval --seed -1", "--seed to be greater than or equal to 0, got '-1'"),
    (f"eval --seed {'9' * 5000}", "--seed"),
    ("profile --batch-size 1e20", "a batch size from 1 to 1048576, or auto, got '1e20'"),
    ("profile --batch-size 100000000000000000000", "a batch size from 1 to 1048576, or auto"),
    (f"profile --batch-size {'9' * 5000}", "or auto, got 5000 characters"),
    ("eval --batch-size 1e20", "--batch-size to be a valid integer"),
    ("eval --batch-size 100000000000000000000", "--batch-size to be less than or equal to 1048576"),
    ("train --batch-size 100000000000000000000", "--batch-size to be less than or equal to 1048576"),
    ("profile --target-width inf", "a target width above 0, got inf"),
    ("profile --target-width nan", "a target width above 0, got nan"),
    ("profile --time-budget inf", "a time budget above 0 s, got inf"),
    ("profile --threads 1000000000", "--threads to be less than or equal to 1024"),
    ("eval --workers 1000000000", "--workers to be less than or equal to 1024"),
    ("run x --workers 1000000000", "a number of workers, or auto, got '1000000000'"),
    ("profile --resolution 999999999", "a resolution of at most 16384, got '999999999'"),
    (f"profile --resolution {'9' * 5000}", "a resolution of at most 16384, got 5000 characters"),
    (f"profile --device cuda:{'9' * 5000}", "a device"),
    ("eval --num-images 0", "a number of images >= 1, got 0"),
    ("eval --num-images -5", "a number of images >= 1, got -5"),
    ("invariance translation --levels 99999", "levels of translation up to 8192, got 99999"),
    ("invariance rotation --levels 99999", "levels of rotation up to 360, got 99999"),
    ("invariance scale --levels 99999", "crop ratios from 0.01 to 10, got 99999"),
    ("invariance scale --levels nan", "levels of at least 0, got nan"),
    ("invariance translation --levels 0.5", "whole pixels"),
    ("erf --stages 9", "a stage from 1 to 4, got 9"),
    ("erf --stages inf", "stages that are whole numbers from 1, got inf"),
    ("erf --stages nan", "stages that are whole numbers from 1, got nan"),
    ("erf --percent nan", "a percentage above 0 and at most 100, got nan"),
    ("affinity --positions 99999", "positions 0 to"),
    ("affinity --layers 99", "layers"),
    ("affinity --heads 99", "heads 0 to"),
    ("affinity --radii inf", "radii of at least 0 tokens"),
    ("robustness --eps nan", "an eps from 0 to 1, got 'nan'"),
    ("robustness --eps 1/0", "an eps such as 8/255 or 0.03, got '1/0'"),
    ("robustness --steps 0", "--steps to be greater than or equal to 1"),
    ("train --accumulate 1000", "a batch size that can be divided"),
    ("train --seeds 1,1", "each seed once, got '1,1'"),
    ("train --seeds 1,01", "each seed once, got '1,01'"),
    (f"train --seeds {'9' * 5000}", "seeds such as 0,1,2"),
    (f"train --set epochs={'9' * 5000}", "a value such as 0.1"),
    (f"train --set epochs={'[' * 3000}", "a value such as 0.1"),
    ("train --set lr=.nan", "lr"),
    ("train --lr inf", "lr"),
    ("train --epochs 0", "--epochs to be greater than or equal to 1"),
    ("compare . . --margin nan", "a margin for speed from 0 to below 1, got nan"),
    (f"compare {ROOT} {ROOT} --live --margin nan", "a margin above 0 and below 1, got nan"),
    (f"compare {ROOT} {ROOT} --live --time-budget inf", "a time limit above 0 s, got inf"),
    # names
    ("new mixer class", "a mixer name that is no word of Python's, got 'class'"),
    ("new mixer match", "a mixer name that is no word of Python's, got 'match'"),
    ("new mixer ../x", "a mixer name in lower case with underscores"),
    ("check lambda", "a mixer, got 'lambda'"),
    (f"report {'a' * 5000}", "a result store"),
    (f"run {'a' * 5000}", "File name too long"),
    (f"eval --dataset {'a' * 5000}", ""),
    ("report /dev/null", ""),
    ("export /dev/null", ""),
    ("run /dev/null", "an experiment file, got /dev/null (a pipe or a device)"),
    ("history prune --keep 0", "--keep to be greater than or equal to 1"),
    ("history prune --before someday", "--before"),
]
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
    ("registers nothing", "x = 1\n", "expected a mixer registered by", "register_mixer"),
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


@pytest.mark.parametrize(("line", "piece"), LINES, ids=[line[:60] for line, _ in LINES])
def test_a_command_line_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, piece: str) -> None:
    monkeypatch.chdir(tmp_path)
    refusal = run.refusal(*shlex.split(line))
    assert piece in refusal
    assert "Traceback" not in refusal
    assert len(refusal) < 1000
    assert list(tmp_path.iterdir()) == []
