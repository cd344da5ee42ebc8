"""What plans remember: found once for a version of the code, and never instead of an error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stmbench.bundled import bundled
from stmbench.experiments import remembered

SLOW = ("torch", "timm", "torchvision")


@pytest.fixture(autouse=True)
def _kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(remembered.VARIABLE)


class Finder:
    """Counts how often it is asked."""

    def __init__(self, answer: object = 3) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self) -> object:
        self.asked += 1
        return self.answer


def test_an_answer_is_found_once() -> None:
    find = Finder([1, "two"])
    assert [remembered.remembered("kind", "name", find) for _ in range(3)] == [[1, "two"]] * 3
    assert find.asked == 1
    remembered.remembered("kind", "other", find)
    remembered.remembered("other kind", "name", find)
    assert find.asked == 3


def test_another_version_knows_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = Finder()
    remembered.remembered("kind", "name", find)
    monkeypatch.setattr(remembered, "version", lambda: "another")
    remembered.remembered("kind", "name", find)
    assert find.asked == 2


def test_a_speed_is_forgotten_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    now, find, lasting = 1_000.0, Finder(), Finder()
    monkeypatch.setattr(remembered.time, "time", lambda: now)
    for moment, asked in ((1_000.0, 1), (80_000.0, 1), (90_000.0, 2), (1_000.0, 3)):  # a clock that was set back
        now = moment
        remembered.remembered("speed", "name", find, of_machine=True)
        remembered.remembered("size", "name", lasting)
        assert (find.asked, lasting.asked) == (asked, 1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "VERSION", "found": {"kind name": 5}}'])
def test_a_damaged_file_is_as_none(text: str) -> None:
    remembered.file().parent.mkdir()
    remembered.file().write_text(text.replace("VERSION", remembered.version()), encoding="utf-8")
    find = Finder()
    assert [remembered.remembered("kind", "name", find) for _ in range(2)] == [3, 3]
    assert find.asked == 1


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    find = Finder()
    assert [remembered.remembered("kind", "name", find) for _ in range(2)] == [3, 3]
    assert find.asked == 2


def test_the_oldest_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 3)
    for number in range(5):
        remembered.remembered("kind", str(number), Finder(number))
    assert [*json.loads(remembered.file().read_text(encoding="utf-8"))["found"]] == ["kind 2", "kind 3", "kind 4"]


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(remembered.VARIABLE, "off")
    find = Finder()
    assert [remembered.remembered("kind", "name", find) for _ in range(2)] == [3, 3]
    assert find.asked == 2
    assert not remembered.file().exists()


def test_with_a_users_mixer_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from stmbench.mixers.base import MIXERS

    find = Finder()
    with monkeypatch.context() as patched:
        patched.setitem(MIXERS._entries, "mine", MIXERS.get("pooling"))
        patched.setattr(MIXERS, "_changes", MIXERS.changes + 1)
        remembered.remembered("kind", "name", find)
        remembered.remembered("kind", "name", find)
    assert find.asked == 2


SHOW = f"""
import sys
from stmbench.commands import app
sys.argv = ["stmbench", "run", sys.argv[1], "--dry-run", "--device", "cpu", "--out", sys.argv[2]]
try:
    app()
finally:
    print(*(name for name in {SLOW} if name in sys.modules), file=sys.stderr)
"""


def shown(name: str, out: Path) -> tuple[str, list[str]]:
    """The plan, and which of the slow libraries were imported for it."""
    command = [sys.executable, "-c", SHOW, str(bundled("experiments") / f"{name}.yaml"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()[-1].split()


@pytest.mark.parametrize("name", ["supervised_shapes", "detection_quickstart"])
def test_a_plan_of_trainings_is_shown_without_pytorch_the_second_time(name: str, tmp_path: Path) -> None:
    first, imported = shown(name, tmp_path / "store")
    assert "torch" in imported
    second, imported = shown(name, tmp_path / "store")
    assert imported == []
    assert second == first


def test_a_wrong_option_is_refused_each_time(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("title: T\nmodels: ['unified_sr_attn_nano[zzz=1]']\nanalyses: [erf]\n", encoding="utf-8")
    for _ in range(2):
        command = [sys.executable, "-m", "stmbench", "run", str(file), "--dry-run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "zzz" in done.stderr
