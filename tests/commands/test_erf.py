"""`stmbench erf` from the command line to table, figures and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run

FEW = ("--scale", "nano", "--dataset", "digits", "--num-images", "10")


def test_five_mixers_shown_and_drawn(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path))
    result = run.stmbench("erf", *FEW, *out)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["model", *(word for n in range(1, 5) for word in ("stage", str(n)))]
    assert sum("random init" in line for line in lines) == 5
    assert "untrained, weights are random init" in result.stderr
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"erf.svg", "erf.png"}
    assert "random init" in (tmp_path / "figures" / "erf.svg").read_text()
    assert run.stmbench("eval", *FEW, *out).exit_code == 0
    again = run.stmbench("erf", *FEW, *out, "--definition", "authors_code.v1")
    assert "0 units of work measured, 5 taken from the store" in again.stderr
    assert "authors_code.v1" in again.stdout
    assert not (tmp_path / "figures" / "erf_accuracy.svg").exists(), "accuracies of random weights join nothing"


def test_json_is_all_there_is(tmp_path: Path) -> None:
    arguments = ("--models", "unified_dw_conv_nano", "--stages", "2,4", "--percent", "50,99", "--json")
    result = run.stmbench("erf", *FEW[2:], *arguments, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {(row["stage"], row["level"], row["metric"]) for row in rows} == {
        (s, percent, "erf") for s in (1, 3) for percent in (50, 99)
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--percent", "0"), "expected a percentage above 0 and at most 100, got 0"),
        (("--percent", "half"), "expected numbers such as 50, got 'half'"),
        (("--stages", "0"), "expected stages from 1, got 0"),
        (("--stages", "9"), "expected a stage from 1 to 4, got 9"),
        (("--definition", "paper.v2"), "expected a definition of the receptive field, got 'paper.v2'"),
        (("--num-images", "100000"), "got"),
        (("--dataset", "nowhere"), "got"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run.stmbench("erf", "--models", "unified_dw_conv_nano", *FEW[2:], *arguments, "--out", str(tmp_path / "x"))
    assert result.exit_code == 2
    assert said in result.stderr
