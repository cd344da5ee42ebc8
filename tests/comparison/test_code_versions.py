"""What may stand for a side of a live comparison, and what each side's worker sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stmbench
from stmbench.comparison.worker_process import code_version, digest
from stmbench.errors import InputError
from tests.comparison.checkouts import checkout


def _environment(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


def test_a_checkout_runs_with_its_own_code_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    version = code_version(str(checkout(tmp_path)))
    assert version.python == Path(sys.executable)
    assert version.environment()["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/elsewhere"
    monkeypatch.delenv("PYTHONPATH")
    assert version.environment()["PYTHONPATH"] == str(tmp_path)


def test_an_environment_runs_with_what_it_has_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    folder = _environment(tmp_path)
    for text in (str(folder), str(folder / "bin" / "python")):
        version = code_version(text)
        assert (version.python, version.checkout) == (folder / "bin" / "python", None)
        assert "PYTHONPATH" not in version.environment()
    assert code_version(sys.executable).environment()["PYTHONPATH"] == "/elsewhere"  # it is the one that runs this


def test_plugins_come_from_the_side_that_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("base", "head", "."):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.py").write_text(f"# {folder}")
    plugins = [Path("mine.py")]
    assert [code_version(name, plugins).plugins for name in ("base", "head")] == [
        (tmp_path / "base" / "mine.py",),
        (tmp_path / "head" / "mine.py",),
    ]
    assert code_version("base", plugins).checkout == Path(stmbench.__file__).parents[1]
    everywhere = [(tmp_path / "mine.py").absolute()]
    assert code_version(str(checkout(tmp_path / "c")), everywhere).plugins == tuple(everywhere)
    hello = {"package": str(Path(stmbench.__file__).parent), "software": {"torch": "2", "timm": None}}
    versions = [code_version(name, plugins).described(hello, "m") for name in ("base", "head")]
    assert versions[0].plugins != versions[1].plugins
    assert versions[0].digest == versions[1].digest
    assert versions[0].software == (("torch", "2"),)


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    version = code_version(str(checkout(tmp_path)))
    hello = {"package": str(tmp_path / "stmbench"), "software": {}}
    before = version.described(hello, "m")
    assert (before.commit, before.code) == (None, f"files {(before.digest or '')[:12]}")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    assert len(version.described(hello, "m").commit or "") == 40
    (tmp_path / "stmbench" / "__init__.py").write_text("# changed")
    after = version.described(hello, "m")
    assert after.dirty
    assert after.code.endswith("with uncommitted changes")
    assert after.digest != before.digest


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("x")
    two.write_text("x")
    assert digest([one], tmp_path) != digest([two], tmp_path)
    before = digest([one, two], tmp_path)
    two.write_text("y")
    assert digest([one, two], tmp_path) != before


@pytest.mark.parametrize(
    ("text", "got"),
    [("missing", "'missing', none of these"), ("empty", "'empty', a folder without them"),
     ("text.txt", "'text.txt', none of these")],
)  # fmt: skip
def test_what_is_no_side_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, got: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").touch()
    with pytest.raises(InputError, match=r"expected a checkout .* leave --live out to compare two stores") as error:
        code_version(text)
    assert got in str(error.value)


def test_a_plugin_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a plug-in file \(.py\) or folder, got '.*mine.py'; check --plugin"):
        code_version(str(checkout(tmp_path)), [Path("mine.py")])
