"""Imports flow one way, as the design draws it."""

from __future__ import annotations

from pathlib import Path

import pytest

import stmbench
from tests.architecture_rules import flow

PACKAGE = Path(stmbench.__file__).parent


def _house(folder: Path, files: dict[str, str]) -> Path:
    root = folder / "stmbench"
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (file.parent / "__init__.py").touch()
    return root


def test_imports_flow_one_way() -> None:
    assert flow.violations(PACKAGE) == []


def test_every_package_is_in_the_drawing() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert packages | modules <= {*flow.ALLOWED, *flow.ON_TOP}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mixers/a.py", "from stmbench.architectures import unified"),
        ("mixers/a.py", "import stmbench.analyses.profile"),
        ("mixers/a.py", "def f():\n    from stmbench.measure.counting import count\n    return count"),
        ("mixers/a.py", "from ..architectures import unified"),
        ("mixers/a.py", "from stmbench import architectures"),
        ("mixers/a.py", "import importlib\nimportlib.import_module('stmbench.commands')"),
        (
            "mixers/a.py",
            "if TYPE_CHECKING:\n    import stmbench.architectures.unified",
        ),
        ("measure/a.py", "from stmbench.architectures.catalog import create_model"),
        ("measure/a.py", "from stmbench.mixers.dw_conv import DwConv"),
        ("data/a.py", "from stmbench.measure import clock"),
        ("figures/a.py", "import torch.nn"),
        ("figures/a.py", "from stmbench.mixers.base import MIXERS"),
        ("reporting/a.py", "from stmbench.analyses import profile"),
        ("tables/a.py", "from stmbench.mixers.base import MIXERS"),
        ("analyses/erf/figures.py", "import torch"),
        ("analyses/erf/section.py", "from stmbench.analyses.erf.analysis import gradient_maps"),
        ("analyses/erf/terminal.py", "from stmbench.measure import clock"),
        ("analyses/erf/figures/maps.py", "from stmbench.analyses.eval.figures import accuracy"),
        ("errors.py", "import stmbench.registry"),
        ("attics/a.py", "from stmbench.errors import InputError"),
    ],
)
def test_a_wrong_import_is_caught(tmp_path: Path, file: str, text: str) -> None:
    package = {"architectures/unified.py": "", "measure/clock.py": "", "analyses/profile.py": "", "mixers/base.py": ""}
    found = flow.violations(_house(tmp_path, {**package, file: text}))
    assert len(found) == 1, found
    assert found[0].startswith(f"stmbench/{file}:")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mixers/a.py", "from stmbench.errors import InputError\nfrom stmbench import mixers, __version__"),
        ("measure/a.py", "from stmbench.mixers.base import Mixer\nimport torch"),
        ("figures/a.py", "from stmbench.tables import read\nimport numpy"),
        ("commands/a.py", "def f():\n    from stmbench.experiments import engines"),
        (
            "analyses/erf/section.py",
            "from stmbench.analyses.erf.figures import f\nfrom stmbench.reporting.content import Section",
        ),
        ("analyses/erf/figures/maps.py", "from stmbench.analyses.erf.options import OURS\nimport matplotlib"),
        ("analyses/a.py", "from . import base\nfrom stmbench.measure.clock import Clock"),
    ],
)
def test_a_right_import_passes(tmp_path: Path, file: str, text: str) -> None:
    assert flow.violations(_house(tmp_path, {file: text})) == []
