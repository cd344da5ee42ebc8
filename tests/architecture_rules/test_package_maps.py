"""The docstring of every package is a map of its files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import stmbench

ROOT = Path(stmbench.__file__).parent
PACKAGES = sorted(file.parent for file in ROOT.rglob("__init__.py") if file.parent != ROOT)


def unnamed(package: Path) -> list[str]:
    """Modules and packages in a folder that its docstring does not name."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    names = [file.stem for file in package.glob("*.py") if file.stem != "__init__"]
    names += [folder.name for folder in package.iterdir() if (folder / "__init__.py").exists()]
    return sorted(name for name in names if not re.search(rf"\b{name}\b", text))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_docstring_names_every_file(package: Path) -> None:
    assert unnamed(package) == []


def test_a_file_that_is_not_named_is_found(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""Drawing.\n\nlines    curves\n"""\n')
    for name in ("lines", "heat_maps"):
        (tmp_path / f"{name}.py").touch()
    assert unnamed(tmp_path) == ["heat_maps"]
