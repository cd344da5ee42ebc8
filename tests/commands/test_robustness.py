"""`stmbench robustness` from the command line to what it leaves behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stmbench.tables import COLUMNS, read
from tests.commands import run

NANO = ("robustness", "--scale", "nano", "--mixers", "dw_conv,sr_attn", "--device", "cpu")
FEW = ("--num-images", "8", "--batch-size", "8")


def test_digits_leave_a_table_figures_and_rows(tmp_path: Path) -> None:
    result = run.stmbench(*NANO, *FEW, "--dataset", "digits", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    for piece in ("FGSM", "DW-Conv", "clean", "0.5/255", "2/255", "8/255", "digits", "random init", "accuracy in %"):
        assert piece in result.stdout, piece
    assert "McNemar" in result.stdout
    assert "untrained, weights are random init" in result.stderr
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"robustness_accuracy{kind}.{ending}" for kind in ("", "_differences") for ending in ("svg", "png")
    }  # fmt: skip
    assert set(read(tmp_path)["analysis"]) == {"robustness"}
    again = run.stmbench(*NANO, *FEW, "--dataset", "digits", "--out", str(tmp_path))
    assert "0 units of work measured, 2 taken from the store" in again.stderr
    assert again.stdout == result.stdout


def test_photographs_are_attacked_at_the_own_prediction_and_the_table_says_so(tmp_path: Path) -> None:
    result = run.stmbench(*NANO, *FEW, "--eps", "4/255,0.03", "--resolution", "32", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "no labels: the models' own predictions are attacked" in said
    assert "consistency in %" in said
    assert set(read(tmp_path)["level"].dropna()) == {0.0, 4 / 255, 0.03}


def test_json_is_all_that_standard_output_gets(tmp_path: Path) -> None:
    pytest.importorskip("torchattacks")
    attacks = ("--attacks", "all", "--steps", "2", "--eps", "8/255", "--mixers", "dw_conv")
    result = run.stmbench(*NANO, *FEW, *attacks, "--dataset", "digits", "--json", "--out", str(tmp_path))
    rows = json.loads(result.stdout)
    assert all(tuple(row) == COLUMNS for row in rows)
    attacked = {row["definition"].split(".")[0:2][1] for row in rows}
    assert attacked == {"fgsm", "pgd2", "apgd2"}
    assert not any("mistaken" in row["definition"] for row in rows)


def test_a_timm_model_is_attacked_too(tmp_path: Path) -> None:
    result = run.stmbench(
        "robustness", "--models", "timm:resnet18,unified_dw_conv_nano", "--num-images", "3", "--resolution", "32",
        "--device", "cpu", "--json", "--out", str(tmp_path),
    )  # fmt: skip
    assert {row["model"] for row in json.loads(result.stdout)} == {"timm:resnet18", "unified_dw_conv_nano"}


BAD = [
    (["--eps", "-1/255"], "expected an eps from 0 to 1, got '-1/255'", "change --eps"),
    (["--eps", "8"], "expected an eps from 0 to 1, got '8'", "change --eps"),
    (["--eps", "eight"], "expected an eps such as 8/255", "change --eps"),
    (["--eps", ""], "expected ", "--eps"),
    (["--attacks", "fgms"], "expected an attack, got 'fgms'", "did you mean fgsm"),
    (["--steps", "0"], "expected --steps", "--help"),
    (["--dataset", "digit"], "expected ", "digits"),
    (["--num-images", "0"], "expected ", "--num-images"),
    (["--dtype", "fp32,bf16"], "expected one dtype", "once for each"),
    (["--checkpoint", "nowhere.pth"], "expected a checkpoint of a model", "MODEL=FILE"),
]


@pytest.mark.parametrize(("args", "line", "piece"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_it_refuses(tmp_path: Path, args: list[str], line: str, piece: str) -> None:
    out = tmp_path / "store"
    refusal = run.refusal(*NANO, "--out", str(out), *args)
    assert refusal.startswith(line)
    assert piece in refusal
    assert not out.exists()


def test_a_missing_torchattacks_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    refusal = run.refusal(*NANO, "--attacks", "fgsm,pgd", "--out", str(tmp_path / "store"))
    assert "pip install 'stmbench[attacks]'" in refusal
    assert not (tmp_path / "store").exists()
