"""The file that lists are read from holds what the registries hold, and reading it needs no model code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stmbench.commands import listing
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
    command = [sys.executable, "-m", "stmbench.commands.listing"]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    remedy = "run python -m stmbench.commands.listing > stmbench/commands/listing.json"
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
