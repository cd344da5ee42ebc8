"""What is committed refers to nothing outside the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# put together here, so that this file does not find itself; the checkout's own path is a place outside for all others
PLACES = (r"\.\./" + "shared", re.escape(str(ROOT)) + r"\b", "/" + r"home/\w+/", "/" + r"Users/\w+/")
OUTSIDE = re.compile("|".join(PLACES))


def _tracked() -> list[Path]:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def _mentions(text: str) -> list[str]:
    return [match.group() for match in OUTSIDE.finditer(text)]


def test_no_file_names_a_place_outside_the_project() -> None:
    found = {
        str(path.relative_to(ROOT)): mentions
        for path in _tracked()
        if (mentions := _mentions(path.read_text(encoding="utf-8", errors="ignore")))
    }
    assert found == {}


def test_a_place_outside_would_be_seen() -> None:
    assert len(_mentions("see .." + "/shared/facts.md, /" + f"home/someone/x and {ROOT}/README.md")) == 3
    assert _mentions("see docs/counting.md") == []


def test_no_file_is_longer_than_it_should_be() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in _tracked()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "stmbench")
    }
    assert {name: length for name, length in lengths.items() if length > 300} == {}
