"""Bundled files: a wheel, used from an empty folder, has all that a checkout has, and experiments have names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from stmbench import bundled as module
from stmbench.bundled import FOLDERS, bundled, bundled_experiments, experiment_file, title_of
from stmbench.errors import InputError, UnknownNameError

ROOT = Path(__file__).parents[1]
SHARE = "stmbench/share/"


def _python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """Standard output of Python with the environment's packages, and with `path` before them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _build(source: Path, kind: str, out: Path) -> Path:
    _python("-m", "hatchling", "build", "-t", kind, "-d", str(out), cwd=source)
    (made,) = out.iterdir()
    return made


def _carried(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling, which builds wheels, is not installed")
    return _build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def test_a_wheel_carries_every_bundled_file(wheel: Path) -> None:
    expected = {
        SHARE + path.relative_to(ROOT).as_posix()
        for folder, patterns in {
            "experiments": ("*.yaml", "common/*.yaml"),
            "examples": ("*.py", "*.ipynb"),
            "results/published": ("*.csv",),
        }.items()
        for pattern in patterns
        for path in (ROOT / folder).glob(pattern)
    }
    carried = _carried(wheel)
    assert expected
    assert expected <= carried
    assert not [name for name in carried if name.split("/")[0] not in ("stmbench", "stmbench-0.1.0.dist-info")]
    assert not [name for name in carried if "__pycache__" in name or ".ipynb_checkpoints" in name]


def test_a_wheel_of_the_source_archive_is_the_same(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(_build(ROOT, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert _carried(_build(source, "wheel", tmp_path / "again")) == _carried(wheel)


JOB = """
import sys
from pathlib import Path
import stmbench
from stmbench.bundled import bundled
from stmbench.commands import app

def run(*words):
    try:
        app(words, prog_name="stmbench")
    except SystemExit as end:
        assert not end.code, end.code

site = Path(sys.argv[1])
assert Path(stmbench.__file__).is_relative_to(site), stmbench.__file__
run("list", "experiments", "--json")
assert "torch" not in sys.modules
from stmbench.bundled import published_names
assert len(published_names()) == 17
run("run", "quickstart", "--mini", "--dry-run")
run("profile", "--mixers", "strip_modulation", "--scale", "nano", "--plugin", str(bundled("examples") / "my_mixer.py"),
    "--resolution", "32", "--batch-size", "1", "--time-budget", "0.01", "--out", "store")
"""


def test_an_installed_wheel_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--quiet")
    _python(*install, "--target", str(site), str(wheel), cwd=empty)
    out = _python("-c", JOB, str(site), cwd=empty, path=site)
    listed, end = json.JSONDecoder().raw_decode(out)
    assert [row["name"] for row in listed] == list(bundled_experiments())
    assert all(Path(row["file"]).is_relative_to(site) for row in listed)
    assert "Quick start, eight mixers on digits" in out[end:]
    assert list((empty / "store" / "parts").glob("*.parquet"))


def test_a_checkout_uses_its_own_folders() -> None:
    assert {kind: bundled(kind) for kind in FOLDERS} == {kind: ROOT / folder for kind, folder in FOLDERS.items()}


def test_an_installation_never_looks_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "stmbench")
    (tmp_path / "stmbench" / "share" / "experiments").mkdir(parents=True)
    (tmp_path / "examples").mkdir()
    assert bundled("experiments") == tmp_path / "stmbench" / "share" / "experiments"
    with pytest.raises(InputError, match=r"expected the examples that come with stmbench, got no folder .*share"):
        bundled("examples")


def test_a_name_is_the_bundled_file() -> None:
    assert experiment_file("stm_table3") == bundled("experiments") / "stm_table3.yaml"
    assert experiment_file(Path("quickstart")).is_file()


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("title: Mine\n")
    assert experiment_file("quickstart") == Path("quickstart")


@pytest.mark.parametrize("text", ["folder/quickstart", "quickstart.yaml", "/nowhere/x.yaml"])
def test_a_path_stays_as_it_is(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert experiment_file(text) == Path(text)


def test_a_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="got 'quikstart'; did you mean quickstart"):
        experiment_file("quikstart")


@pytest.mark.parametrize("name", bundled_experiments())
def test_the_quick_title_is_the_files(name: str) -> None:
    path = bundled_experiments()[name]
    assert title_of(path) == yaml.safe_load(path.read_text(encoding="utf-8"))["title"]


def test_a_file_without_a_title_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: other.yaml\n")
    assert title_of(tmp_path / "mine.yaml") == "mine"
