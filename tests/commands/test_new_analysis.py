"""`stmbench new analysis` writes a file that works: as a command, an experiment step and a function."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

import stmbench
from stmbench.analyses.registry import ANALYSES
from stmbench.plugins import load_plugins, loading, sha256_of
from stmbench.tables import Store, read
from tests.commands import run

MODEL = "unified_dw_conv_nano"
SMALL = ("--dataset", "digits", "--num-images", "4", "--resolution", "32", "--device", "cpu")


def _starter(folder: Path, name: str = "jitter") -> Path:
    file = folder / f"{name}.py"
    result = run.stmbench("new", "analysis", name, "--out", str(file))
    assert result.exit_code == 0, result.output
    return file


def test_the_starter_is_a_command(tmp_path: Path) -> None:
    file, out = _starter(tmp_path), tmp_path / "store"
    arguments = ("jitter", "--plugin", str(file), "-m", MODEL, *SMALL, "--out", str(out))
    result = run.stmbench(*arguments, "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["analysis"], row["metric"], row["unit"], row["model"]) == ("jitter", "jitter_change", "1", MODEL)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert (out / "figures" / "jitter.svg").is_file()
    assert "Jitter" in (out / "jitter.html").read_text()
    store = Store(out)
    (key,) = store.keys()
    assert store.metadata(key)["plugins"] == {"jitter": sha256_of("analysis", "jitter")}
    assert "1 taken from the store" in run.stmbench(*arguments).stderr


def test_the_batch_size_changes_nothing(tmp_path: Path) -> None:
    load_plugins([_starter(tmp_path)])
    values = [
        stmbench.jitter(MODEL, images="digits", num_images=4, resolution=32, batch_size=size, progress=False).table
        for size in (4, 3)
    ]
    assert values[0]["value"].to_numpy() == pytest.approx(values[1]["value"].to_numpy(), rel=1e-4)


def test_a_function_needs_its_plugin_loaded_first(tmp_path: Path) -> None:
    file = _starter(tmp_path, "flicker")
    message = r"no attribute 'flicker'; .*: stmbench\.plugins\.load_plugin\('FILE\.py'\)$"
    with pytest.raises(AttributeError, match=message):
        stmbench.flicker(MODEL, plugins=[str(file)])
    stmbench.plugins.load_plugin(file)  # the remedy, as the message words it
    assert stmbench.flicker.__name__ == "flicker"


def test_the_starter_is_an_experiment_step(tmp_path: Path) -> None:
    _starter(tmp_path)
    file = tmp_path / "e.yaml"
    step = "{analysis: jitter, num_images: 4, resolution: 32, noise: 0.2}"
    file.write_text(f"title: T\nplugins: [jitter.py]\nmodels: [{MODEL}]\ndata: {{set: digits}}\nanalyses: [{step}]\n")
    arguments = ("run", str(file), "--device", "cpu", "--workers", "1", "--out", str(tmp_path / "s"))
    assert "--allow-plugins" in run.refusal(*arguments)
    result = run.stmbench(*arguments, "--allow-plugins")
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "s")["level"].to_list() == [0.2]


def test_an_installed_package_offers_an_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _starter(tmp_path, "wobble")
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint(name="wobble", value="wobble", group="stmbench.analyses")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.setattr(loading, "_INSTALLED", {})
    result = run.stmbench("wobble", "--help")
    assert result.exit_code == 0, result.output
    assert "How far the logits move under noise" in result.stdout
    assert ANALYSES.get("wobble").title == "Wobble"


@pytest.mark.parametrize("name", ["erf", "report", "train"])
def test_a_name_of_a_command_is_refused(tmp_path: Path, name: str) -> None:
    line = run.refusal("new", "analysis", name, "--out", str(tmp_path / "mine.py"))
    assert f"an analysis name that is free, got '{name}'" in line
    assert list(tmp_path.iterdir()) == []


def test_nonsense_is_refused(tmp_path: Path) -> None:
    line = run.refusal("jitter", "--plugin", str(_starter(tmp_path)), "-m", MODEL, "--noise", "2")
    assert line == "expected noise above 0 and at most 1, got 2.0; change --noise"
