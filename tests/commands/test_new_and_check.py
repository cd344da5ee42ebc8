"""`stmbench new mixer` writes a file that works; `stmbench check` says what is wrong with one that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.conformance import CHECKS
from stmbench.plugins import load_plugin
from tests.commands import run


def _starter(folder: Path, name: str = "strip_conv") -> Path:
    file = folder / f"{name}.py"
    result = run.stmbench("new", "mixer", name, "--out", str(file))
    assert result.exit_code == 0, result.output
    assert f"wrote {file}" in result.stdout
    return file


def test_the_starter_file_passes_every_check(tmp_path: Path) -> None:
    result = run.stmbench("check", str(_starter(tmp_path)))
    assert result.exit_code == 0, result.output
    assert f"{len(CHECKS) - 1} passed, 0 failed, 1 skipped" in result.stdout  # it has no merged form


def test_the_starter_file_is_a_mixer(tmp_path: Path) -> None:
    assert load_plugin(_starter(tmp_path)).registered == {"mixer": ("strip_conv",)}
    entry = MIXERS.get("strip_conv")
    assert (entry.title, entry.module.__name__) == ("Strip Conv", "StripConv")
    module = entry.build(BlockPosition(stage=0, block=0, dim=8, resolution=(8, 8)), kernel=5)
    assert module(torch.randn(2, 5, 7, 8)).shape == (2, 5, 7, 8)


def test_the_starter_file_runs_in_a_profile(tmp_path: Path) -> None:
    file, out = _starter(tmp_path), tmp_path / "store"
    chosen = ["--scale", "nano", "--mixers", "strip_conv,dw_conv", "--no-timing"]
    result = run.stmbench("profile", *chosen, "--plugin", str(file), "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    rows = [row for row in json.loads(result.stdout) if row["metric"] == "macs" and row["condition"] is None]
    assert {row["model"] for row in rows} == {"unified_strip_conv_nano", "unified_dw_conv_nano"}


def test_the_default_place_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.stmbench("new", "mixer", "mine").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("StripConv", "strip_conv"),
        ("strip-conv", "strip_conv"),
        ("3x3", "my_mixer"),
        ("a__b", "a_b"),
        ("dw_conv", "another name"),
    ],
)
def test_a_bad_name_is_refused_and_nothing_written(tmp_path: Path, name: str, remedy: str) -> None:
    line = run.refusal("new", "mixer", name, "--out", str(tmp_path / "mine.py"))
    assert repr(name) in line
    assert remedy in line
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("precious")
    assert "expected a file that does not exist yet" in run.refusal("new", "mixer", "mine", "--out", str(file))
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("out", "piece"), [("mine.txt", "ends in .py"), ("nowhere/mine.py", "No such file or directory")]
)
def test_a_bad_place_is_refused(tmp_path: Path, out: str, piece: str) -> None:
    assert piece in run.refusal("new", "mixer", "mine", "--out", str(tmp_path / out))


def test_a_broken_mixer_fails_in_words(tmp_path: Path) -> None:
    file = _starter(tmp_path)
    text = file.read_text()
    file.write_text(text.replace("        return mixed\n", "        return mixed[:, 1:].contiguous()\n", 1))
    assert file.read_text() != text
    result = run.stmbench("check", str(file))
    assert result.exit_code == 1
    assert "FAIL  shape: the input (B, H, W, C) comes back with the same shape" in result.stdout
    assert "found: (1, 56, 56, 32) became (1, 55, 56, 32) in stage 0" in result.stdout
    assert f"remedy: {CHECKS['shape'].remedy}" in result.stdout
    assert "needs shape to pass" in result.stdout


def test_outcomes_as_json(tmp_path: Path) -> None:
    file = _starter(tmp_path)
    file.write_text(file.read_text().replace("return height * width * (", "return 2 * height * width * ("))
    result = run.stmbench("check", str(file), "--json")
    assert result.exit_code == 1
    failed = [row for row in json.loads(result.stdout) if row["status"] == "failed"]
    assert [(row["name"], row["check"]) for row in failed] == [("strip_conv", "macs")]
    assert result.stderr == ""


def test_a_registered_mixer_is_checked_by_name() -> None:
    result = run.stmbench("check", "dw_conv")
    assert result.exit_code == 0
    assert result.stdout.startswith("dw_conv\n")


def test_neither_a_file_nor_a_name() -> None:
    assert run.refusal("check", "dw_conf").startswith("expected a mixer, got 'dw_conf'; did you mean dw_conv")
    assert "No such file" in run.refusal("check", "dw_conf.py")
