"""The list of built-in mixers is what their modules register, in the same order, and no module is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stmbench import mixers
from stmbench.mixers.base import MIXERS


def test_list_names_every_registered_mixer() -> None:
    built_in = [name for name in MIXERS if MIXERS.get(name).plugin_sha256 is None]
    assert tuple(built_in) == mixers.BUILTIN
    assert {MIXERS.get(name).module.__module__: () for name in built_in}.keys() == {
        f"stmbench.mixers.{module}" for module in mixers.MODULES
    }


def test_their_order_does_not_depend_on_what_is_imported_first() -> None:
    code = (
        "import stmbench.mixers.pooling; from stmbench.mixers import base, BUILTIN; print([*base.MIXERS] == [*BUILTIN])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


def test_the_folder_lists_the_mixers() -> None:
    files = {file.stem for file in Path(mixers.__file__).parent.glob("*.py")}
    assert files == {*mixers.MODULES, "__init__", "base", "presets", "admission", "trials"}
