"""An experiment is named by its path, or by its name where it comes with stmbench."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stmbench.bundled import bundled
from stmbench.errors import UnknownNameError
from stmbench.experiments.files import bundled_experiments, experiment_file, title_of


def test_a_name_is_the_bundled_file() -> None:
    assert experiment_file("stm_table3") == bundled("experiments") / "stm_table3.yaml"
    assert experiment_file(Path("quickstart")).is_file()


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("title: Mine\n")
    assert experiment_file("quickstart") == Path("quickstart")


@pytest.mark.parametrize("text", ["folder/quickstart", "quickstart.yaml", "/nowhere/x.yaml"])
def test_a_path_stays_as_it_is(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert experiment_file(text) == Path(text)


def test_a_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="got 'quikstart'; did you mean quickstart"):
        experiment_file("quikstart")


@pytest.mark.parametrize("name", bundled_experiments())
def test_the_quick_title_is_the_files(name: str) -> None:
    path = bundled_experiments()[name]
    assert title_of(path) == yaml.safe_load(path.read_text(encoding="utf-8"))["title"]


def test_a_file_without_a_title_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: other.yaml\n")
    assert title_of(tmp_path / "mine.yaml") == "mine"
