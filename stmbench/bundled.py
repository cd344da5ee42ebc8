"""Files that come with stmbench and are not code: experiments, the papers' tables, example mixers and notebooks.

In a checkout they are in folders at its root; a wheel has the same folders in `stmbench/share` (see pyproject.toml).
No other module may know where they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stmbench.errors import InputError

PACKAGE: Final = Path(__file__).resolve().parent
FOLDERS: Final = {"experiments": "experiments", "examples": "examples", "published": "results/published"}


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
