"""The papers' own figures: `results/published/<name>.csv`, each with its source in the first line."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

import pandas as pd

from stmbench.errors import TableError, UnknownNameError

CHECKOUT: Final = Path(__file__).resolve().parents[2] / "results" / "published"
MARK: Final = "# source: "


def published(name: str) -> pd.DataFrame:
    """One table of a paper, in the paper's units; `attrs["source"]` says which.

    Raises:
        UnknownNameError: no such table. TableError: the tables are not there, or one has no source line.
    """
    path = _folder() / f"{name}.csv"
    if name not in published_names():
        raise UnknownNameError("published table", name, published_names())
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith(MARK):
        raise TableError(f"a first line that starts with {MARK!r} in {path.name}", repr(first), "say where it is from")
    frame = pd.read_csv(path, skiprows=1)
    frame.attrs["source"] = first.removeprefix(MARK)
    return frame


def published_names() -> list[str]:
    """The names that `published` takes, sorted."""
    return sorted(path.stem for path in _folder().glob("*.csv"))


def _folder() -> Path:
    """The checkout's folder, or the copy that the build puts into the package (see setup.py)."""
    packaged = Path(str(resources.files("stmbench.tables"))) / "published_data"
    for folder in (CHECKOUT, packaged):
        if folder.is_dir():
            return folder
    raise TableError("the papers' tables", f"none in {CHECKOUT} or {packaged}", "install stmbench from a full checkout")
