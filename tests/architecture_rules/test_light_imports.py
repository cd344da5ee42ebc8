"""Help and completion must not wait for torch: what they import is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stmbench.commands.group import AFTER, BEFORE, command_names
from stmbench.tables import Store
from tests.tables.frames import MIXERS, profile_rows

HEAVY = ("torch", "torchvision", "timm", "fvcore", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "seaborn")
LIGHT_MODULES = [
    "stmbench",
    "stmbench.errors",
    "stmbench.registry",
    "stmbench.analyses.registry",
    "stmbench.analyses.options",
    "stmbench.mixers",
    "stmbench.plugins",
    "stmbench.commands",
    *(f"stmbench.commands.{name}" for name in ("group", "options", "session", "terminal", "values", *BEFORE, *AFTER)),
]


def _loaded(code: str) -> set[str]:
    """Heavy packages in sys.modules after a fresh interpreter ran `code`."""
    script = f"import sys\n{code}\nprint('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_modules_of_the_command_line_import_nothing_heavy() -> None:
    assert _loaded("\n".join(f"import {name}" for name in LIGHT_MODULES)) == set()


def _after_running(args: list[str]) -> set[str]:
    lines = [
        "from stmbench.commands import app",
        "try:",
        f"    app({args!r}, prog_name='stmbench')",
        "except SystemExit as end:",
        "    assert not end.code, end.code",
    ]
    return _loaded("\n".join(lines))


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in command_names())], ids=" ".join)
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    assert _after_running(args) == set()


@pytest.mark.parametrize("what", ["experiments", "examples"])
def test_bundled_files_are_listed_without_torch(what: str) -> None:
    assert _after_running(["list", what]) == set()


@pytest.mark.parametrize("words", [["quickstart"], ["modern_mixers", "--mini"], ["stm_table3"]], ids=" ".join)
def test_a_plan_is_shown_without_model_code(words: list[str], tmp_path: Path) -> None:
    assert _after_running(["run", *words, "--dry-run", "--device", "cpu", "--out", str(tmp_path / "s")]) == set()


def test_names_sets_and_tasks_need_no_timm() -> None:
    lines = [
        "import stmbench.experiments.running, stmbench.experiments.tasks, stmbench.analyses.images",
        "from stmbench.analyses.models import facts_of",
        "from stmbench.data.sets import open_set",
        "assert facts_of('unified_halo_attn_nano').entry.title",  # the registries themselves
        "assert open_set('digits').fingerprint()",
    ]
    assert not _loaded("\n".join(lines)) & {"timm", "torchvision"}, "a second and 50 MiB of a cluster's driver"


def test_a_report_is_made_without_torch(tmp_path: Path) -> None:
    rows = [row for row in profile_rows(["halo_attn", "dw_conv"], raw=False) if row.metric == "params"]
    Store(tmp_path / "s").write("a", rows, metadata={"mixers": MIXERS})
    loaded = _after_running(["report", str(tmp_path / "s"), "--format", "html", "--out", str(tmp_path / "r")])
    assert not loaded & {"torch", "torchvision", "timm", "fvcore"}
    assert "All models against" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words", ["stmbench pro", "stmbench profile --sc", "stmbench profile --scale ", "stmbench list ", "stmbench check "]
)
def test_completion_imports_nothing_heavy(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_STMBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert _after_running([]) == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert "numpy" in _loaded("import numpy")
