"""The site: all of docs/ is in its navigation, links lead somewhere, and its packages are the extra's."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.documented import ROOT, pages

hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))

MADE = {"index.md", "contributing.md", "experiment_files.md", "command_line.md"}  # by docs/hooks.py
MADE_BY_DEMO = {"results/demo/report.html", "results/demo/report.pdf"}
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def _config() -> dict[str, Any]:
    found = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert isinstance(found, dict)
    return found


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in _named(item)]


def test_every_page_is_in_the_navigation_once() -> None:
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    nav = hooks["with_pages"](_config()["nav"], ROOT / "docs")
    assert sorted(_named(nav)) == sorted(there | MADE)


def test_new_page_is_added_to_navigation_and_list(tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    for name, heading in (("jitter", "Jitter"), ("affinity", "Affinity maps")):
        text = f"# {heading}\n\nWhat {name}\nis ([more](../data.md)).\n\nDetails.\n"
        (folder / f"{name}.md").write_text(text)
    nav = hooks["with_pages"](["index.md", {"Definitions": ["definitions/", {"Counting": "counting.md"}]}], tmp_path)
    added = ["definitions/affinity.md", "definitions/jitter.md"]
    assert nav == ["index.md", {"Definitions": [*added, {"Counting": "counting.md"}]}]
    listed = (
        "* **[Affinity maps](definitions/affinity.md)**. What affinity is (more).\n\n"
        "* **[Jitter](definitions/jitter.md)**. What jitter is (more)."
    )
    assert hooks["list_of_pages"]("definitions/", tmp_path) == listed


def test_definitions_and_commands_are_not_listed_by_hand() -> None:
    nav = _named(_config()["nav"])
    assert {"definitions/", "commands/"} <= set(nav)
    assert [page for page in nav if re.match(r"(definitions|commands)/.", page)] == []
    assert len(hooks["FOLDER"].findall((ROOT / "docs" / "definitions.md").read_text())) == 1


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_resolve(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if link not in MADE_BY_DEMO]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_experiment_is_listed() -> None:
    text = (ROOT / "experiments" / "README.md").read_text()
    assert [path.stem for path in (ROOT / "experiments").glob("*.yaml") if f"`{path.stem}`" not in text] == []


def test_pages_load_nothing_from_the_network() -> None:
    config = _config()
    assert config["theme"]["font"] is False
    assert config["strict"] is True
    assert not {"extra_javascript", "extra_css", "repo_url"} & set(config)


def test_make_docs_installs_the_extra() -> None:
    extra = re.search(r"^docs = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extra is not None
    makefile = (ROOT / "Makefile").read_text()
    for package in re.findall(r'"([^"]+)"', extra[1]):
        assert f"'{package}'" in makefile
    for package in re.findall(r"'((?:typer|rich)>=\d+[.\d]*)'", makefile):
        assert f'"{package}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.skipif(
    importlib.util.find_spec("material") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="the extra 'docs' is not installed",
)
def test_site_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--num-images" in (tmp_path / "site" / "command_line.html").read_text()
    definitions = (tmp_path / "site" / "definitions.html").read_text()
    assert [page.stem for page in (ROOT / "docs" / "definitions").glob("*.md") if page.stem not in definitions] == []
