"""`make` sets up `.venv` when it is missing, cut short or older than pyproject.toml, and not otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# stands in for every python: notes what it is asked to do, and makes a venv that holds a copy of itself
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    "-c "*) exit "${OLD_PYTHON:-0}" ;;
    "-m venv --clear .venv"*) rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; touch "$4/has_pip" ;;
    "-m pip --version") test -e "$(dirname "$0")/../has_pip"; exit $? ;;
esac
echo "$*" >> log
case "$*" in
    "-m pip install "*) exit "${PIP_FAILS:-0}" ;;
esac
"""
VENV = "-m venv --clear .venv"
PIP = "-m pip install --disable-pip-version-check -e .[dev]"
TESTS = "-m pytest -n 2 --dist worksteal"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, a pyproject.toml, and a python that only takes notes."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "python").write_text(FAKE_PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def _make(clone: Path, target: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code of `make target`, and what the pythons were asked to do."""
    log = clone / "log"
    log.write_text("")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    done = subprocess.run(
        ["make", f"PYTHON={clone / 'python'}", target], cwd=clone, env={**kept, **environment}, capture_output=True
    )
    return done.returncode, log.read_text().splitlines()


def test_a_fresh_clone_is_set_up_with_one_pip_call(clone: Path) -> None:
    assert _make(clone, "test") == (0, [VENV, PIP, TESTS])


def test_what_is_set_up_is_left_alone(clone: Path) -> None:
    _make(clone, "install")
    assert _make(clone, "test") == (0, [TESTS])


def test_a_changed_pyproject_installs_again_into_the_same_venv(clone: Path) -> None:
    _make(clone, "install")
    later = time.time() + 10
    os.utime(clone / "pyproject.toml", (later, later))
    assert _make(clone, "install") == (0, [PIP])


def test_a_venv_that_was_cut_short_is_made_anew(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(clone / "python", clone / ".venv" / "bin" / "python")
    assert _make(clone, "install") == (0, [VENV, PIP])


def test_an_installation_that_was_cut_short_is_taken_up_again(clone: Path) -> None:
    code, asked = _make(clone, "install", PIP_FAILS="1")
    assert code != 0
    assert asked == [VENV, PIP]
    assert _make(clone, "install") == (0, [PIP])


def test_an_old_python_is_refused_before_anything_is_made(clone: Path) -> None:
    code, asked = _make(clone, "install", OLD_PYTHON="1")
    assert code != 0
    assert VENV not in asked
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("demo", ["-m stmbench run experiments/quickstart.yaml --out results/demo"]),
        (
            "check",
            [
                *("-m ruff check .", "-m ruff format --check .", "-m mypy"),
                "-m mypy --python-version 3.10 --disable-error-code no-any-return --no-warn-unused-ignores",
                "-m pytest tests/architecture_rules/test_import_flow.py",
            ],
        ),
    ],
)
def test_what_the_targets_run(clone: Path, target: str, asked: list[str]) -> None:
    _make(clone, "install")
    code, found = _make(clone, target)
    assert code == 0
    assert found[: len(asked)] == asked


def test_the_oldest_versions_have_an_environment_of_their_own(clone: Path) -> None:
    code, asked = _make(clone, "oldest")
    assert code == 0
    assert asked[0] == "-m venv --clear .venv-oldest"
    assert any("--resolution lowest-direct -r pyproject.toml --extra dev" in line for line in asked)
    assert asked[-1].startswith("-m pytest")
    assert not (clone / ".venv").exists()


def test_the_site_has_an_environment_of_its_own(clone: Path) -> None:
    code, asked = _make(clone, "docs")
    assert code == 0
    assert asked[-1] == "-m mkdocs build --strict --clean"
    assert asked[-2].startswith("-m pip install --disable-pip-version-check mkdocs-material")
    assert not (clone / ".venv").exists()
    assert _make(clone, "docs") == (0, asked[-1:])


def test_the_fast_tests_are_there(clone: Path) -> None:
    _make(clone, "install")
    code, asked = _make(clone, "test-fast")
    assert code == 0
    chosen = f"{TESTS} -m not slow "
    assert asked[0].startswith(chosen)
    places = asked[0].removeprefix(chosen).split()
    assert len(places) > 3
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_pre_commit_checks_what_make_checks(clone: Path) -> None:
    _make(clone, "install")
    _, asked = _make(clone, "check")
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]  # asks no network
    entries = [hook["entry"] for repository in repositories for hook in repository["hooks"]]
    assert [entry.removeprefix(".venv/bin/python ") for entry in entries] == asked
