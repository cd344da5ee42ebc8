"""Every extra that a message or a page names is one that pyproject.toml has, and messages are made in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stmbench.errors import MissingPackageError, install

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "stmbench"
NAMED = re.compile(r"stmbench\[([\w,]+)\]")
WHERE = {"MissingPackageError": 2, "install": 0}  # callable -> which argument is the extra
NEEDED = {
    "attacks",
    "demo",
    "detection",
    "gcs",
    "gpu",
    "ray",
    "report",
    "s3",
    "tensorboard",
}  # by stmbench


def _extras() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    return set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE))


def _calls(code: str) -> Iterator[str | None]:
    """The extra that each call of a function in WHERE names; None for one that is not written out."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WHERE:
            extra = node.args[WHERE[node.func.id]]
            yield extra.value if isinstance(extra, ast.Constant) else None


def _sources() -> dict[str, str]:
    files = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    return {str(path.relative_to(ROOT)): text for path, text in files.items() if path != PACKAGE / "errors.py"}


def test_every_message_names_an_extra_that_exists() -> None:
    named = {extra for text in _sources().values() for extra in _calls(text)}
    assert named >= NEEDED
    assert named <= _extras()


def test_no_message_is_written_by_hand() -> None:
    assert [name for name, text in _sources().items() if NAMED.search(text)] == []


@pytest.mark.parametrize("name", ["README.md", "docs", "experiments", "examples", "pyproject.toml"])
def test_every_page_names_an_extra_that_exists(name: str) -> None:
    place = ROOT / name
    files = [place] if place.is_file() else [*place.rglob("*.md"), *place.rglob("*.py"), *place.rglob("*.ipynb")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert {extra for names in NAMED.findall(text) for extra in names.split(",")} <= _extras()


def test_a_wrong_extra_would_be_seen() -> None:
    assert list(_calls('raise MissingPackageError("ray", "--engine ray", "rays")\nprint(install(name))')) == [
        "rays",
        None,
    ]
    assert NAMED.findall(install("rays")) == ["rays"]


def test_the_message() -> None:
    error = MissingPackageError("typst", "PDF", "report", "--format html")
    remedy = "pip install 'stmbench[report]', or --format html"
    assert str(error) == f"expected typst for PDF, got an environment without it; {remedy}"
    assert str(MissingPackageError("ray", "--engine ray", "ray")).endswith("it; pip install 'stmbench[ray]'")
