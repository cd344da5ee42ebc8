"""Experiment files by path or by name: `quickstart` is the one that comes with stmbench."""

from __future__ import annotations

from pathlib import Path

import yaml

from stmbench.bundled import bundled
from stmbench.errors import UnknownNameError


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


def title_of(path: Path) -> str:
    """The title of an experiment file, read without the rest of it, which would need torch."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("title:"):
            return str(yaml.safe_load(line)["title"])
    return path.stem
