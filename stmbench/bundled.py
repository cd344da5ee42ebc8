"""Files that come with stmbench and are not code: experiments, the papers' tables, example mixers and notebooks. And
the folder for what is made once and kept.

In a checkout they are in folders at its root; a wheel has the same folders in `stmbench/share` (see pyproject.toml).
No other module may know where they are.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Final

import yaml

from stmbench.errors import InputError, UnknownNameError

PACKAGE: Final = Path(__file__).resolve().parent
FOLDERS: Final = {"experiments": "experiments", "examples": "examples", "published": "results/published"}


def cache_folder() -> Path:
    """The user's folder for what can be made again: `stmbench` in $XDG_CACHE_HOME, or in ~/.cache."""
    home = os.path.expanduser("~")
    # without a home nothing is kept: no folder can be made there, and one that others can write to is no place for code
    caches = Path(home, ".cache") if os.path.isabs(home) else Path(os.devnull)
    return Path(os.environ.get("XDG_CACHE_HOME") or caches) / "stmbench"


def bundled(kind: str) -> Path:
    """The folder with the bundled files of a kind: a key of FOLDERS.

    Raises:
        InputError: it is missing, so the installation is incomplete.
    """
    share = PACKAGE / "share"  # looked at first: beside an installed package are other people's folders
    folder = (share if share.is_dir() else PACKAGE.parent) / FOLDERS[kind]
    if not folder.is_dir():
        raise InputError(f"the {kind} that come with stmbench", f"no folder {folder}", "install stmbench again")
    return folder


def experiment_file(text: str | Path) -> Path:
    """The file that a path or the name of a bundled experiment stands for; a file of that path comes first.

    Raises:
        UnknownNameError: a plain name that is neither a file nor a bundled experiment. A path that does not exist is
            returned as it is, and refused by who reads it.
    """
    path = Path(text)
    if path.is_file() or path.suffix or path.name != str(text):
        return path
    files = bundled_experiments()
    if path.name not in files:
        raise UnknownNameError("experiment, or a path to one", path.name, files)
    return files[path.name]


def bundled_experiments() -> dict[str, Path]:
    """The experiments that come with stmbench: name to file, sorted by name."""
    return {path.stem: path for path in sorted(bundled("experiments").glob("*.yaml"))}


def published_names() -> list[str]:
    """The names of the papers' tables, sorted."""
    return sorted(path.stem for path in bundled("published").glob("*.csv"))


def published_columns(name: str) -> list[str]:
    """The columns of one of the papers' tables, whose first line names its source."""
    lines = (bundled("published") / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return next(csv.reader(lines[1:2]))


def title_of(path: Path) -> str:
    """The title of an experiment file, without reading the rest, which needs torch."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("title:"):
            return str(yaml.safe_load(line)["title"])
    return path.stem
