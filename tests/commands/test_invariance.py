"""`stmbench invariance` from the command line to table, figures and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run

FEW = ("--scale", "nano", "--dataset", "digits", "--num-images", "10")


def test_rotation_of_five_mixers_shown_and_drawn(tmp_path: Path) -> None:
    result = run.stmbench("invariance", "rotation", *FEW, "--levels", "0,15,45", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["model", "metric", "0°", "15°", "45°", "area"]
    assert sum("random init" in line for line in lines) == 5
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "invariance_rotation_stmbench_v1.svg",
        "invariance_rotation_stmbench_v1.png",
    }
    assert "random init" in (tmp_path / "figures" / "invariance_rotation_stmbench_v1.svg").read_text()


def test_translation_says_what_images_cannot_supply(tmp_path: Path) -> None:
    arguments = ("--models", "unified_dw_conv_nano", *FEW[2:], "--out", str(tmp_path))
    plain = run.stmbench("invariance", "translation", *arguments)
    assert plain.exit_code == 0, plain.output
    assert "left out: levels 4 to 64 of a model" in plain.stdout
    padded = run.stmbench("invariance", "translation", *arguments, "--pad", "reflect", "--levels", "0,2")
    assert "left out" not in padded.stdout


def test_scale_as_json(tmp_path: Path) -> None:
    arguments = ("--models", "unified_dw_conv_nano", *FEW[2:], "--levels", "0.5,1", "--json", "--out", str(tmp_path))
    result = run.stmbench("invariance", "scale", *arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["level"] for row in rows if row["metric"] == "consistency"} == {0.5, 1.0}
    assert {row["analysis"] for row in rows} == {"invariance_scale"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rotatoin",), "expected a kind, got 'rotatoin'; did you mean rotation"),
        (("translation", "--levels", "far"), "expected numbers such as 0,8,16, got 'far'"),
        (("translation", "--levels", "0.5"), "expected whole pixels as levels of translation, got 0.5"),
        (("rotation", "--levels", "-5"), "expected levels of at least 0, got -5"),
        (("scale", "--levels", "99"), "expected crop ratios from 0.01 to 10, got 99"),
        (("rotation", "--order", "during"), "expected a value for --order, got 'during'; known: after, before"),
        (("translation", "--pad", "mirror"), "expected a value for --pad, got 'mirror'; known: none, reflect, zeros"),
        (("scale", "--definition", "paper.v1"), "expected a definition of scale invariance, got 'paper.v1'"),
        (("translation", "--levels", "40"), "no level is supplied by all 10 images"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    rest = () if len(arguments) == 1 else ("--models", "unified_dw_conv_nano", *FEW[2:], "--out", str(tmp_path / "x"))
    result = run.stmbench("invariance", *arguments, *rest)
    assert result.exit_code == 2
    assert said in result.stderr
