"""A plug-in of several files: what belongs to it, how its files import each other, its hash, and how it travels."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from stmbench.errors import PluginError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.plugins import Plugin, carried_files, load_plugin

MIXER = """
from torch import nn
from stmbench.mixers.base import MixerConfig, register_mixer

@register_mixer("NAME", config=MixerConfig)
class Scaled(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return FACTOR * x
"""


def _write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def _mixer(imports: str, factor: str = "helper.FACTOR", name: str = "scaled") -> str:
    return imports + MIXER.replace("FACTOR", factor).replace("NAME", name)


def _factor(name: str = "scaled") -> float:
    module = MIXERS.get(name).build(BlockPosition(stage=0, block=0, dim=4, resolution=(2, 2)))
    factor: float = module(torch.ones(1, 2, 2, 4)).mean().item()
    return factor


def _names(plugin: Plugin, folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in plugin.files)


def _combined(folder: Path, names: list[str]) -> str:
    digests = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


# imports in my_mixer.py, the factor as it is then written, and the files that belong to the plug-in
IMPORTS = [
    ("import helper", "helper.FACTOR", ["helper.py"]),
    ("import helper as h", "h.FACTOR", ["helper.py"]),
    ("from helper import FACTOR as F", "F", ["helper.py"]),
    ("from .helper import FACTOR as F", "F", ["helper.py"]),
    ("import ops.inner", "ops.inner.FACTOR", ["ops/__init__.py", "ops/inner.py", "helper.py"]),
    ("from ops import inner", "inner.FACTOR", ["ops/__init__.py", "ops/inner.py", "helper.py"]),
    ("import os, helper", "helper.FACTOR + 0 * len(os.sep)", ["helper.py"]),
]
BESIDE = {
    "helper.py": "FACTOR = 3\n",
    "ops/__init__.py": "",
    "ops/inner.py": "from helper import FACTOR\nimport my_mixer\n",
    "unused.py": "raise SystemExit\n",
    "random.py": "raise SystemExit('the standard library is meant')\n",
}


@pytest.mark.parametrize(("imports", "factor", "files"), IMPORTS, ids=[case[0] for case in IMPORTS])
def test_files_beside_the_plugin(tmp_path: Path, imports: str, factor: str, files: list[str]) -> None:
    _write(tmp_path, {**BESIDE, "my_mixer.py": _mixer(f"import random\n{imports}\n", factor)})
    plugin = load_plugin(tmp_path / "my_mixer.py")
    assert _factor() == 3
    assert _names(plugin, tmp_path) == sorted(["my_mixer.py", *files])
    assert plugin.sha256 == MIXERS.get("scaled").plugin_sha256 == _combined(tmp_path, ["my_mixer.py", *files])
    assert list(tmp_path.rglob("__pycache__")) == []


def test_an_import_within_a_function_belongs_to_it(tmp_path: Path) -> None:
    text = _mixer("").replace("        return", "        import helper\n        return")
    _write(tmp_path, {"helper.py": "FACTOR = 3\n", "my_mixer.py": text})
    plugin = load_plugin(tmp_path / "my_mixer.py")
    assert _names(plugin, tmp_path) == ["helper.py", "my_mixer.py"]
    assert _factor() == 3


def test_two_plugins_may_each_have_a_helper(tmp_path: Path) -> None:
    for name, factor in (("one", 2), ("other", 5)):
        files = {"helper.py": f"FACTOR = {factor}\n", "my_mixer.py": _mixer("import helper\n", name=name)}
        load_plugin(_write(tmp_path / name, files) / "my_mixer.py")
    assert (_factor("one"), _factor("other")) == (2, 5)


def test_a_changed_helper_is_another_plugin(tmp_path: Path) -> None:
    _write(tmp_path, {"helper.py": "FACTOR = 3\n", "my_mixer.py": _mixer("import helper\n")})
    load_plugin(tmp_path / "my_mixer.py")
    (tmp_path / "helper.py").write_text("FACTOR = 4\n")
    with pytest.raises(PluginError, match="a changed file"):
        load_plugin(tmp_path / "my_mixer.py")


def test_an_error_in_a_helper_names_its_line(tmp_path: Path) -> None:
    _write(tmp_path, {"helper.py": "\nFACTOR = 1 / 0\n", "my_mixer.py": _mixer("import helper\n")})
    with pytest.raises(PluginError, match=rf"ZeroDivisionError: .* at {tmp_path}/helper.py:2"):
        load_plugin(tmp_path / "my_mixer.py")


FOLDERS = {
    "package": {
        "__init__.py": "from . import mixer\n",
        "mixer.py": _mixer("from .parts import helper\n"),
        "parts/__init__.py": "",
        "parts/helper.py": "from mine.base import FACTOR\n",
        "base.py": "FACTOR = 3\n",
    },
    "loose files": {"a_mixer.py": _mixer("import helper\n"), "helper.py": "FACTOR = 3\n"},
}


@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS)
def test_a_folder(tmp_path: Path, files: dict[str, str]) -> None:
    folder = _write(tmp_path / "mine", {**files, "notes.txt": "no code"})
    plugin = load_plugin(folder)
    assert plugin.registered == {"mixer": ("scaled",)}
    assert _factor() == 3
    assert plugin.sha256 == _combined(folder, list(files))


@pytest.mark.parametrize("kind", ["file", "package"])
def test_it_is_the_same_plugin_on_another_machine(tmp_path: Path, kind: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    if kind == "file":
        _write(here, {**BESIDE, "my_mixer.py": _mixer("import helper\n")})
        path = here / "my_mixer.py"
    else:
        path = _write(here / "mine", FOLDERS["package"])
    plugin = load_plugin(path)
    module = MIXERS.get("scaled").build(BlockPosition(stage=0, block=0, dim=4, resolution=(2, 2)))
    name, files = carried_files(path)
    for place, file in files.items():
        (there / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there / place)
    shutil.rmtree(here)
    again = load_plugin(there / name)
    assert (again.sha256, again.registered, again.path) == (plugin.sha256, plugin.registered, there / name)
    assert type(pickle.loads(pickle.dumps(module))) is MIXERS.get("scaled").module
