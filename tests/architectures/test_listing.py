"""The file that lists are read from holds what the registries hold, and reading it needs no model code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stmbench.architectures import listing
from stmbench.architectures.model_names import ModelName
from stmbench.bundled import bundled_experiments
from stmbench.experiments.reading import read_experiment
from stmbench.mixers.base import MIXERS

FRESH = """
import sys
from stmbench.commands import app
try:
    app(["list", *sys.argv[1:]])
finally:
    assert "torch" not in sys.modules and "timm" not in sys.modules
"""


def test_the_file_is_up_to_date() -> None:
    command = [sys.executable, "-m", "stmbench.architectures.listing"]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    remedy = "run python -m stmbench.architectures.listing > stmbench/architectures/listing.json"
    assert listing.FILE.read_text(encoding="utf-8") == written, remedy


@pytest.mark.parametrize("words", [("mixers",), ("models", "unified_*_micro"), ("architectures", "--json")])
def test_a_fresh_process_lists_without_model_code(words: tuple[str, ...]) -> None:
    run = subprocess.run([sys.executable, "-c", FRESH, *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "unified" in run.stdout or "halo_attn" in run.stdout


def test_an_unknown_name_is_refused_with_known_ones() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FRESH, "mixers", "halo_atn"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: expected a mixer, got 'halo_atn'; did you mean halo_attn")


def test_registries_are_asked_where_something_else_may_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[2] / "examples" / "my_mixer.py"
    assert MIXERS.names()  # they are loaded
    monkeypatch.setattr(listing.Path, "read_text", lambda *_, **__: json.dumps({}))
    assert [entry["name"] for entry in listing.listing().mixers][:2] == ["halo_attn", "sr_attn"]
    monkeypatch.undo()
    assert listing.listing([example]).mixers[-1]["name"] == "strip_modulation"


NAMES = ("unified_halo_attn_tiny[halo=1]", "timm:resnet18", "cotnet50", "maskrcnn:unified_sr_attn_nano")
PARSE = f"""
import sys
from stmbench.architectures.model_names import ModelName
for name in {NAMES!r}:
    print(ModelName.parse(name), ModelName.parse(name).title)
"""


def test_names_mean_the_same_with_and_without_the_registries(capsys: pytest.CaptureFixture[str]) -> None:
    light = f"{PARSE}assert 'torch' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert MIXERS.names()  # the registries are loaded here
    for name in NAMES:
        print(ModelName.parse(name), ModelName.parse(name).title)
    assert run.stdout == capsys.readouterr().out


@pytest.mark.parametrize("name", ["quickstart", "modern_mixers", "stm_table3"])
def test_a_plan_knows_the_cost_of_the_models_of_experiments(name: str) -> None:
    known = listing.listing().seconds
    assert all(0 < seconds < 60 for seconds in known.values())
    models = [line.model for line in read_experiment(bundled_experiments()[name]).models]
    assert models
    assert [model for model in models if model not in known] == [], "run benchmarks/recorded_speeds.py"
