"""`stmbench new analysis` writes a file that works: as a command, an experiment step and a function."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

import stmbench
from stmbench.analyses.registry import ANALYSES
from stmbench.commands import study_output
from stmbench.plugins import load_plugins, loading, sha256_of
from stmbench.studies.budget import Plan
from stmbench.studies.design import Effort
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The starter analysis as a package: `__init__.py`, and a file that it imports."""
    text = _starter(tmp_path).read_text(encoding="utf-8")
    begin, end = text.index("# what a row holds"), text.index("@dataclasses.dataclass")
    folder = tmp_path / "of_files"
    folder.mkdir()
    (folder / "metric.py").write_text(
        f"from stmbench.analyses.registry import Metric\n{text[begin:end].replace(': Final', '')}", encoding="utf-8"
    )
    (folder / "__init__.py").write_text(f"{text[:begin]}from .metric import CHANGE\n\n\n{text[end:]}", encoding="utf-8")
    return folder


def test_a_folder_passes_the_check(folder: Path) -> None:
    result = run.stmbench("check", str(folder))
    assert result.exit_code == 0, result.output
    assert "8 passed, 0 failed" in result.stdout


def test_a_folder_is_an_experiment_step_and_a_section_of_a_report(folder: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "e.yaml", tmp_path / "s"
    step = "{analysis: jitter, num_images: 4, resolution: 32}"
    file.write_text(f"title: T\nplugins: [of_files]\nmodels: [{MODEL}]\ndata: {{set: digits}}\nanalyses: [{step}]\n")
    chosen = ("run", str(file), "--device", "cpu", "--workers", "1", "--out", str(out), "--allow-plugins")
    result = run.stmbench(*chosen)
    assert result.exit_code == 0, result.output
    store = Store(out)
    (key,) = store.keys()
    assert store.metadata(key)["plugins"] == {"jitter": sha256_of("analysis", "jitter")}
    page = tmp_path / "page"
    written = run.stmbench("report", str(out), "--plugin", str(folder), "--format", "html", "--out", str(page))
    assert written.exit_code == 0, written.output
    assert ">Jitter</h2>" in page.with_suffix(".html").read_text(encoding="utf-8")


def test_a_study_measures_the_analyses_of_a_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def least(seeds: int, _budget: object, _seconds: object, of_plugins: tuple[str, ...]) -> Plan:
        effort = Effort(seeds=seeds, analyses=of_plugins, on_every_seed=(), epochs=0.01)
        return Plan(effort=effort, left_out=(), seconds=1.0, fits=True)

    monkeypatch.setattr(study_output, "fit", least)
    out = tmp_path / "s"
    options = ("--against", "identity", "--seeds", "1", "--workers", "1", "--device", "cpu")
    result = run.stmbench("study", "dw_conv", *options, "--plugin", str(folder), "--out", str(out))
    assert result.exit_code == 0, result.output
    rows = read(out)
    assert rows[rows["analysis"] == "jitter"]["mixer"].to_list() == ["dw_conv", "identity"]
    assert ">Jitter</h2>" in (out / "report.html").read_text(encoding="utf-8")
    assert "- jitter" in (out / "imagenet.yaml").read_text(encoding="utf-8")


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
