"""A user's file becomes a mixer, or one line that says why not; the registry is never left half-changed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import sys
from pathlib import Path

import pytest
import torch

from stmbench import plugins
from stmbench.analyses.registry import ANALYSES, metrics
from stmbench.errors import PluginError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.plugins import loading

HEAD = """
import torch
from torch import nn
from stmbench.mixers.base import MixerConfig, register_mixer
"""
SOUND = (
    HEAD
    + """
@register_mixer("passthrough", config=MixerConfig)
class Identity(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return x
"""
)
DECORATED = "plug.py:6" if sys.version_info >= (3, 11) else "plug.py:7"  # Python 3.10 names the line of the class
# name of the case, text of the file, a piece of each part of the message
FAILURES = [
    ("syntax", "def f(:\n", "a plug-in that imports", "SyntaxError", "plug.py:1"),
    ("import", "import os\nimport not_a_module_at_all\n", "a plug-in that imports", "not_a_module_at_all", "plug.py:2"),
    ("raises", "def f():\n    raise ValueError('no\\nway')\nf()\n", "that imports", "ValueError: no way", "plug.py:2"),
    ("exits", "import sys\nsys.exit(3)\n", "a plug-in that imports", "SystemExit: 3", "plug.py:2"),
    ("nothing", "x = 1\n", "a mixer, a model or an analysis registered by", "got none", "register_mixer"),
    ("built-in name", SOUND.replace("passthrough", "dw_conv"), "free", "'dw_conv' is registered already", DECORATED),
    ("twice", SOUND + SOUND.replace(HEAD, ""), "free", "'passthrough' is registered already", "rename the mixer"),
    ("bad name", SOUND.replace('"passthrough"', '"My-Mixer"'), "a mixer name", "'My-Mixer'", "my_mixer"),
    (
        "no module",
        HEAD + "@register_mixer('passthrough', config=MixerConfig)\ndef f(x):\n    return x\n",
        "torch.nn.Module class",
        "function f",
        "nn.Module",
    ),
    (
        "no config",
        SOUND.replace("config=MixerConfig", "config=dict, config_at=lambda position: {'dim': position.dim}"),
        "a config of passthrough",
        "dict",
        "MixerConfig",
    ),
    ("unknown fact", SOUND.replace("=MixerConfig", "=MixerConfig, colour=1"), "a fact", "'colour'", DECORATED),
    (
        "taken option",
        SOUND.replace("=MixerConfig", "=MixerConfig, config_at=lambda position, *, scale=1.0: MixerConfig(dim=8)"),
        "option names of passthrough other than architecture",
        "got scale",
        "rename the option",
    ),
    ("odd fact", SOUND.replace("=MixerConfig", "=MixerConfig, sampling='all'"), "sampling", "'all'", "change it"),
    ("shape", SOUND.replace("return x", "return x[:, 1:]"), "to map", "(1, 13, 14, 64)", "(B, H, W, C)"),
    ("only square", SOUND.replace("return x", "return x.reshape(1, 14, 14, 64)"), "to map", "RuntimeError", "check`"),
    ("tuple", SOUND.replace("return x", "return x, x"), "to map", "got tuple", "(B, H, W, C)"),
    ("constructor", SOUND.replace("(self, config)", "(self)"), "to map", "TypeError", "stmbench check"),
]  # fmt: skip


def _file(folder: Path, text: str) -> Path:
    path = folder / "plug.py"
    path.write_text(text)
    return path


def test_a_sound_file_is_registered_with_its_hash(tmp_path: Path) -> None:
    path = _file(tmp_path, SOUND)
    plugin = plugins.load_plugin(path)
    assert plugin.registered == {"mixer": ("passthrough",)}
    entry = MIXERS.get("passthrough")
    # of a file without others beside it, the hash of its contents
    assert entry.plugin_sha256 == plugin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plugins.sha256_of("mixer", "passthrough") == plugin.sha256
    assert plugin.files == (path,)
    x = torch.randn(1, 3, 5, 8)
    assert torch.equal(entry.build(BlockPosition(stage=0, block=0, dim=8, resolution=(3, 5)))(x), x)
    assert plugins.loaded_paths() == [path]
    assert not (tmp_path / "__pycache__").exists()


def test_loading_again_does_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path, SOUND)
    first = plugins.load_plugin(path)
    entry = MIXERS.get("passthrough")
    assert plugins.load_plugin(str(path)) == first
    assert plugins.load_plugins([path, path]) == [first, first]
    assert MIXERS.get("passthrough") is entry


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, SOUND)
    plugins.load_plugin(path)
    path.write_text(SOUND + "\n# other\n")
    with pytest.raises(PluginError, match="a changed file"):
        plugins.load_plugin(path)


@pytest.mark.parametrize(
    ("text", "pieces"), [(case[1], case[2:]) for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_a_file_that_cannot_be_used_is_one_line_and_leaves_no_trace(
    tmp_path: Path, text: str, pieces: tuple[str, ...]
) -> None:
    before, modules = MIXERS.names(), set(sys.modules)
    with pytest.raises(PluginError) as caught:
        plugins.load_plugin(_file(tmp_path, text))
    message = str(caught.value)
    assert message.startswith("expected ")
    assert ", got " in message
    assert "\n" not in message
    for piece in pieces:
        assert piece in message
    assert MIXERS.names() == before
    assert plugins.loaded_paths() == []
    assert [name for name in set(sys.modules) - modules if name.startswith("stmbench_plugin")] == []


@pytest.mark.parametrize(("name", "piece"), [("missing.py", "No such file"), (".", "a folder with Python files")])
def test_a_path_without_a_plugin(tmp_path: Path, name: str, piece: str) -> None:
    with pytest.raises(PluginError, match=piece):
        plugins.load_plugin(tmp_path / name)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "plug.txt"
    path.write_text(SOUND)
    with pytest.raises(PluginError, match="rename the file"):
        plugins.load_plugin(path)


def test_loading_a_plugin_leaves_the_random_state(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    plugins.load_plugin(_file(tmp_path, SOUND))
    assert torch.equal(torch.get_rng_state(), before)


def _install(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, group: str = "stmbench.mixers") -> None:
    """As if a package with one entry point were installed."""
    monkeypatch.syspath_prepend(folder)
    point = importlib.metadata.EntryPoint(name="mine", value=module, group=group)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.setattr(loading, "_INSTALLED", {})


@pytest.mark.parametrize("broken", [False, True])
def test_installed_entry_points_are_loaded_and_broken_ones_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    module = f"stm_installed_{'broken' if broken else 'sound'}"
    (tmp_path / f"{module}.py").write_text("x = 1\n" if broken else SOUND)
    before = MIXERS.names()
    _install(monkeypatch, tmp_path, module)
    if broken:
        with pytest.warns(plugins.PluginWarning, match=f"mine = {module} was skipped: expected a mixer, a model"):
            plugins.load_plugins()
        assert MIXERS.names() == before
        assert module not in sys.modules
    else:
        plugins.load_plugins()
        assert MIXERS.names() == [*before, "passthrough"]
        assert MIXERS.get("passthrough").plugin_sha256 == hashlib.sha256(SOUND.encode()).hexdigest()
    plugins.load_plugins()  # a second look does nothing, and warns of nothing


def test_an_installed_package_is_hashed_with_the_files_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "stm_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("SIZE = 3\n")
    (package / "unused.py").write_text("")
    (package / "mine.py").write_text("from stm_package.helper import SIZE\n" + SOUND)
    _install(monkeypatch, tmp_path, "stm_package.mine")
    plugins.load_plugins()
    contents = {name: (package / name).read_bytes() for name in ("helper.py", "mine.py")}
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    assert MIXERS.get("passthrough").plugin_sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_an_entry_point_that_was_imported_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stm_imported.py").write_text(SOUND)
    _install(monkeypatch, tmp_path, "stm_imported")
    importlib.import_module("stm_imported")  # by a notebook, say
    plugins.load_plugins()
    assert MIXERS.get("passthrough").plugin_sha256 == hashlib.sha256(SOUND.encode()).hexdigest()


def test_installed_packages_are_looked_through_again_only_where_something_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: asked.append(group) or [])
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load_plugins()
    assert asked == list(loading.GROUPS)
    plugins.load_plugins()
    assert asked == list(loading.GROUPS), "each task of an experiment asks"
    os.utime(tmp_path, ns=(0, 0))
    plugins.load_plugins()
    assert asked == 2 * list(loading.GROUPS)


def test_an_analysis_is_recorded_under_its_kind(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "from stmbench.analyses.registry import AnalysisSpec, register_analysis\n"
        "register_analysis(AnalysisSpec(name='mine', title='Mine', summary='Mine.'))\n" + SOUND,
    )
    assert plugins.load_plugin(path).registered == {"analysis": ("mine",), "mixer": ("passthrough",)}
    plugins.unload_plugins()
    assert "mine" not in ANALYSES
    assert "passthrough" not in MIXERS


def test_a_failure_takes_back_every_kind(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "from stmbench.analyses.registry import AnalysisSpec, register_analysis, Metric\n"
        "own = Metric(name='of_mine', unit='1')\n"
        "register_analysis(AnalysisSpec(name='mine', title='', summary='', metrics=(own,)))\n"
        + SOUND.replace("return x", "return x[:, 1:]"),
    )
    with pytest.raises(PluginError, match="to map"):
        plugins.load_plugin(path)
    assert "mine" not in ANALYSES
    assert "of_mine" not in metrics()
