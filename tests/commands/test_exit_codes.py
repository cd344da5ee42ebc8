"""0: all that was asked for was measured; 1: some units failed, and a line names them; 2: nothing could be measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import run
from tests.experiments.files import write

GOOD, BAD = "unified_identity_nano", "unified_quitter_nano"
LOUD = """
import os
import sys

from torch import nn
from stmbench.mixers.base import MixerConfig, register_mixer

print("plug-in says hello")


@register_mixer("quitter", config=MixerConfig)
class Quitter(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.seen = print("constructor says hello")
        os.write(1, b"C code says hello\\n")

    def forward(self, x):
        print("forward says hello")
        if x.shape[1] in (2, 4, 8):
            QUIT
        return x
"""
HOW = {"exit": "sys.exit(0)", "base": "raise BaseException('gone')", "error": "raise ValueError('no luck')"}
IMAGES = ("--dataset", "digits", "--num-images", "2", "--resolution", "32")
# every command that measures, with what makes it quick
MEASURING = {
    "profile": ("profile", "--resolution", "32", "--no-timing"),
    "eval": ("eval", *IMAGES),
    "erf": ("erf", *IMAGES),
    "translation": ("invariance", "translation", *IMAGES, "--levels", "0", "--pad", "zeros"),
    "rotation": ("invariance", "rotation", *IMAGES, "--levels", "0"),
    "scale": ("invariance", "scale", *IMAGES, "--levels", "1"),
    "robustness": ("robustness", *IMAGES, "--eps", "2/255"),
    "affinity": ("affinity", *IMAGES, "--jacobian", "mixer"),
    "train": ("train", "--resolution", "32", "--data-fraction", "0.05", "--batch-size", "32", "--epochs", "1"),
}


@pytest.fixture
def plugin(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    file = tmp_path / "quitter.py"
    file.write_text(LOUD.replace("QUIT", HOW[getattr(request, "param", "exit")]))
    return str(file)


def measured(command: str, plugin: str, out: Path, *models: str) -> tuple[int, str, str]:
    more = ("--set", "warmup_epochs=0") if command == "train" else ()
    options = ("--models", ",".join(models), "--plugin", plugin, "--device", "cpu", "--out", str(out), *more)
    result = run.stmbench(*MEASURING[command], *options)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", MEASURING)
def test_each_command_that_measures(tmp_path: Path, plugin: str, command: str) -> None:
    code, shown, said = measured(command, plugin, tmp_path / "some", BAD, GOOD)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert (code, "of work failed: " in line, BAD in line, GOOD in line) == (1, True, True, False), said
    assert "its code called sys.exit(0)" in said
    assert "says hello" not in shown
    assert "says hello" in said
    assert "Identity" in shown

    code, shown, said = measured(command, plugin, tmp_path / "none", BAD)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 2, said
    assert line.startswith("error: expected a unit of work that can be done, got ")
    assert shown == ""


@pytest.mark.parametrize("plugin", ["base", "error"], indirect=True)
def test_whatever_a_model_raises_is_a_failed_unit(tmp_path: Path, plugin: str) -> None:
    code, _, said = measured("eval", plugin, tmp_path / "store", BAD, GOOD)
    assert code == 1
    assert "failed: predictions of unified_quitter_nano: " in said


def test_a_second_run_tries_what_failed_again(tmp_path: Path, plugin: str) -> None:
    for _ in range(2):
        code, _, said = measured("eval", plugin, tmp_path / "store", BAD, GOOD)
        assert code == 1
    assert "0 units of work measured, 1 failed, 1 taken from the store" in said


@pytest.mark.parametrize(("models", "code"), [((GOOD,), 0), ((BAD, GOOD), 1), ((BAD,), 2)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_experiment(tmp_path: Path, plugin: str, models: tuple[str, ...], code: int, workers: str) -> None:
    text = f"title: T\nmodels: [{', '.join(models)}]\ndata: {{set: digits}}\nplugins: {Path(plugin).name}\n"
    text += "analyses: [{analysis: eval, num_images: 2}]\n"
    path = write(tmp_path, text)
    out = ("--allow-plugins", "--device", "cpu", "--out", str(tmp_path / "store"))
    result = run.stmbench("run", str(path), "--workers", workers, *out)
    assert result.exit_code == code, result.stderr
    assert "says hello" not in result.stdout
    assert (BAD in result.stderr.splitlines()[-1]) == (code == 1)


def test_an_experiment_that_lacks_something_is_not_all_done(tmp_path: Path) -> None:
    text = f"title: T\nmodels: [{GOOD}]\ndata: {{set: digits}}\nanalyses: [{{analysis: eval, num_images: 2}}, "
    path = write(tmp_path, text + "{analysis: eval, set: imagenet}]\n")
    result = run.stmbench("run", str(path), "--workers", "1", "--out", str(tmp_path / "store"))
    assert result.exit_code == 1, result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: 1 unit of work failed: eval")


@pytest.mark.parametrize("where", ["module", "constructor", "config"])
@pytest.mark.parametrize("command", [("list", "mixers"), ("profile", "--no-timing"), ("check",)], ids=" ".join)
def test_a_plugin_that_exits_ends_no_command_as_if_all_were_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    quits = {
        "module": ("print(", "sys.exit(0); print("),
        "constructor": ("super().__init__()", "sys.exit(0)"),
        "config": (
            "print(",
            "class Config(MixerConfig):\n    def __post_init__(self):\n        sys.exit(0)\n\n\nprint(",
        ),
    }
    text = LOUD.replace(*quits[where], 1)
    text = text.replace("config=MixerConfig", "config=Config") if where == "config" else text
    Path("plug.py").write_text(text.replace("QUIT", "pass"))
    result = run.stmbench(*command, *(("plug.py",) if command == ("check",) else ("--plugin", "plug.py")))
    checked = command == ("check",) and where != "module"
    assert result.exit_code == (1 if checked else 2), result.output
    assert "Traceback" not in result.stderr


def test_standard_output_of_the_process_is_json_and_nothing_else(tmp_path: Path, plugin: str) -> None:
    arguments = ("profile", "--models", BAD, "--plugin", plugin, "--no-timing", "--resolution", "64", "--json")
    text = Path(plugin).read_text().replace("sys.exit(0)", "pass")
    Path(plugin).write_text(text)
    command = [sys.executable, "-m", "stmbench", *arguments, "--out", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["model"] for row in json.loads(done.stdout)} == {BAD}
    for who in ("plug-in", "constructor", "forward", "C code"):
        assert f"{who} says hello" in done.stderr
