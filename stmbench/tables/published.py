"""The papers' own figures: `results/published/<name>.csv`, each with its source in the first line."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.bundled import bundled
from stmbench.errors import TableError, UnknownNameError

MARK: Final = "# source: "


def published(name: str) -> pd.DataFrame:
    """One table of a paper, in the paper's units; `attrs["source"]` says which.

    Raises:
        UnknownNameError: no such table. TableError: it has no source line.
    """
    path = bundled("published") / f"{name}.csv"
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
    return sorted(path.stem for path in bundled("published").glob("*.csv"))
