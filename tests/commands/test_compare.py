"""`stmbench compare` from the command line: exit codes, formats, refusals, and one real live run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import stmbench as package
from tests.commands import run
from tests.comparison import stores
from tests.comparison.checkouts import checkout

HERE = str(Path(package.__file__).parents[1])
QUICK = ("--resolution", "32", "--batch-size", "2", "--device", "cpu")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    base = stores.write(tmp_path / "base", [*stores.costs(), *stores.rounds()])
    return str(base), str(stores.write(tmp_path / "head", [*stores.costs(macs=3e7), *stores.rounds(seed=1)]))


def test_stores_exit_codes(pair: tuple[str, str]) -> None:
    base, head = pair
    result = run.stmbench("compare", base, head)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("stmbench compare: 1 worse, 2 inconclusive, 1 same")
    assert run.stmbench("compare", base, base).exit_code == 0
    assert run.stmbench("compare", base, base, "--strict").exit_code == 3
    assert run.stmbench("compare", head, base, "--format", "json").exit_code == 0


def test_stores_formats_and_margins(pair: tuple[str, str]) -> None:
    comparison = json.loads(run.stmbench("compare", *pair, "--format", "json", "--margin", "0.4").stdout)
    assert {item["margin"] for item in comparison["findings"] if item["unit"] == "s"} == {0.4}
    assert comparison["mode"] == "stored"
    assert run.stmbench("compare", *pair, "--format", "markdown").stdout.startswith("### stmbench compare: 1 worse")


LIVE = ("compare", HERE, HERE, "--live")
REFUSED = [
    (("compare", "nowhere", "nowhere"), "expected a result store, got 'nowhere'"),
    (("compare", "a", "b", "--format", "html"), "expected a format, got 'html'"),
    (("compare", "a", "b", "--models", "x"), "expected --live beside options of a live comparison, got --models"),
    (("compare", "a", "b", "--time-budget", "3"), "expected --live beside options"),
    (("compare", "a", "b", "--margin", "2"), "expected a margin for speed from 0 to below 1, got 2"),
    (("compare", "nowhere", HERE, "--live"), "expected a checkout"),
    ((*LIVE, "--models", "x", "--scale", "nano"), "expected models by name or by scale"),
    ((*LIVE, "--device", "cpu", "--models", "unified_hallo*"), "expected a model or a pattern that matches one"),
    ((*LIVE, "--scale", "huge"), "expected a scale, got 'huge'"),
    ((*LIVE, "--resolution", "32,64"), "expected one resolution"),
    ((*LIVE, "--dtype", "fp32,bf16"), "expected one dtype"),
    ((*LIVE, "--time-budget", "0"), "expected a time limit above 0 s"),
    ((*LIVE, "--clock", "sun"), "expected a clock, got 'sun'"),
    ((*LIVE, "--plugin", "mine.py"), "expected a plug-in file (.py)"),
    ((*LIVE, "--device", "cpu", "--models", "m", "--samples", "/dev/null/x.csv"), "expected to write /dev/null/x.csv"),
]


@pytest.mark.parametrize(
    ("args", "line"), REFUSED, ids=[" ".join(args[1:]).replace(HERE, "HERE") for args, _ in REFUSED]
)
def test_bad_input(args: tuple[str, ...], line: str) -> None:
    assert line in run.refusal(*args)


@pytest.mark.parametrize(
    ("model", "reason"), [("refuses", "ValueError: a reason in two lines"), ("exits", "its code called sys.exit(0)")]
)
def test_models_that_run_nowhere_are_bad_input(tmp_path: Path, model: str, reason: str) -> None:
    folder = str(checkout(tmp_path))
    result = run.stmbench("compare", folder, folder, "--live", *QUICK, "--models", model)
    assert (result.exit_code, result.stdout) == (2, "")
    line = result.stderr.splitlines()[-1]  # after the line of progress
    assert f"expected a model that runs, got at base and head: {reason}" in line


def test_made_up_checkouts_live(tmp_path: Path) -> None:
    folders = [str(checkout(tmp_path / name)) for name in ("base", "head")]
    (tmp_path / "head" / "stmbench" / "more.py").write_text("VALUE = 1\n")
    samples = tmp_path / "rounds.csv"
    options = ("--models", "any,dies", "--time-budget", "0.5", "--plant", "1.0", "--format", "json")
    result = run.stmbench("compare", *folders, "--live", *QUICK, *options, "--samples", str(samples))
    assert result.exit_code in (0, 1), result.output  # whether so few rounds resolve it is the machine's affair
    comparison = json.loads(result.stdout)
    assert comparison["changes"]["code"] != []
    assert comparison["changes"]["environment"] == comparison["changes"]["machine"] == []
    findings = {item["model"]: item for item in comparison["findings"]}
    assert findings["dies"]["verdict"] == "failed"
    assert "at base and head: the worker exited with code 7: last words" in findings["dies"]["reason"]
    assert 1.2 < findings["any"]["effect"] < 4
    with samples.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["attempt"] for line in lines} == {"0"}
    assert {line["side"] for line in lines} == {"base", "head"}
    assert {line["model"] for line in lines} == {"any"}
    assert all(float(line["processor_seconds"]) >= 0 for line in lines)


def test_two_real_models_live() -> None:
    options = ("--scale", "nano", "--mixers", "dw_conv,sr_attn", "--time-budget", "0.5", "--format", "json")
    result = run.stmbench(*LIVE, *QUICK, *options)
    assert result.exit_code in (0, 1), result.output
    comparison = json.loads(result.stdout)
    assert {item["model"] for item in comparison["findings"]} == {"unified_dw_conv_nano", "unified_sr_attn_nano"}
    assert all(item["base"] > 0 and item["head"] > 0 and item["effect"] > 0 for item in comparison["findings"])
    assert comparison["changes"] == {"code": [], "environment": [], "machine": []}
    assert dict(comparison["base"]["software"])["torch"]
