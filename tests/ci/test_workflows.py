"""The workflow and the action are what GitHub takes, and call what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.repositories import ROOT, SCRIPT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}|\./")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans: `on` is a word."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(path: Path) -> dict[str, Any]:
    found = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    assert isinstance(found, dict)
    return found


def _action() -> dict[str, Any]:
    return _read(ROOT / "action.yml")


def problems(step: dict[str, Any], *, composite: bool) -> list[str]:
    """What GitHub takes in a step and we do not want in one, and `shell`, which an action's schema does not ask for."""
    found = []
    if "uses" in step and not PINNED.fullmatch(step["uses"]):
        found.append(f"an action that is not pinned to a commit: {step['uses']}")
    if composite and "run" in step and "shell" not in step:
        found.append("run without shell")
    if "run" in step and EXPRESSION.search(step["run"]):
        found.append("an expression inside a script, where what it holds would be read as shell")
    return found


def by_schema(kind: str, path: Path) -> subprocess.CompletedProcess[str]:
    """The file checked by the schema of GitHub's that check-jsonschema ships."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.github-{kind}", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda path: path.name)
def test_files_are_as_githubs_schema_has_them(path: Path, tmp_path: Path) -> None:
    kind = "actions" if path.name == "action.yml" else "workflows"
    result = by_schema(kind, path)
    assert result.returncode == 0, result.stdout
    wrong = tmp_path / path.name
    wrong.write_text(path.read_text().replace("    steps:", "    stepps:", 1).replace("  steps:", "  stepps:", 1))
    assert by_schema(kind, wrong).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow(path: Path) -> None:
    workflow = _read(path)
    assert workflow["permissions"] == {"contents": "read"}, "rights are given job by job"
    for name, job in workflow["jobs"].items():
        assert set([job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])) <= set(
            workflow["jobs"]
        )
        assert [line for step in job["steps"] for line in problems(step, composite=False)] == [], name


def test_the_project_is_tested_on_every_python_it_names() -> None:
    job = _read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]
    lowest = re.search(r'requires-python = ">=([\d.]+)"', PYPROJECT)
    assert lowest is not None
    assert job["strategy"]["matrix"]["python"][0] == lowest[1]
    assert job["strategy"]["matrix"]["python"][-1] == "3.14"
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_the_oldest_versions_and_a_wheel_are_tested() -> None:
    jobs = _read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    lines = {name: "\n".join(step.get("run", "") for step in jobs[name]["steps"]) for name in ("oldest", "installed")}
    assert lines["oldest"].strip() == "make oldest"
    assert "pip wheel --no-deps" in lines["installed"]
    assert "stmbench run quickstart --mini" in lines["installed"]
    assert "-e" not in lines["installed"].split()


def test_every_requirement_has_a_lowest_version_for_the_oldest_job() -> None:
    words = re.findall(r'"([^"]+)"', PYPROJECT.partition("dependencies = [")[2].partition("[project.scripts]")[0])
    assert len(words) > 30
    assert [word for word in words if ">=" not in word and not word.startswith("stmbench[")] == []


def test_the_citation_is_of_this_version() -> None:
    citation = _read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert f'version = "{citation["version"]}"' in PYPROJECT
    assert f'license = "{citation["license"]}"' in PYPROJECT
    assert citation["authors"]
    assert citation["message"]
    assert all(len(reference["authors"]) > 3 for reference in citation["references"])


def test_the_project_gives_its_own_action_known_inputs() -> None:
    steps = _read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["compare"]["steps"]
    own = [step for step in steps if step.get("uses") == "./"]
    assert len(own) == 1
    assert set(own[0]["with"]) <= set(_action()["inputs"])


def test_action() -> None:
    action = _action()
    assert action["runs"]["using"] == "composite"
    for name, item in {**action["inputs"], **action["outputs"]}.items():
        assert item["description"], name
    assert all(set(item) == {"description", "default"} for item in action["inputs"].values())
    assert all(isinstance(item["default"], str) for item in action["inputs"].values())
    steps = action["runs"]["steps"]
    assert [line for step in steps for line in problems(step, composite=True)] == []


def test_expressions_of_the_action_name_what_there_is() -> None:
    action = _action()
    text = (ROOT / "action.yml").read_text()
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(action["inputs"]), "every input is used, and none that is not there"
    written = set(re.findall(r'echo "([\w-]+)=', text))
    assert set(re.findall(r"steps\.compare\.outputs\.([\w-]+)", text)) == written
    assert text.count("${{") == len(EXPRESSION.findall(text))


def test_the_action_sets_what_the_script_reads() -> None:
    (step,) = (step for step in _action()["runs"]["steps"] if step.get("id") == "compare")
    settings = set(re.findall(r'^: "\$\{(\w+):=', SCRIPT.read_text(), re.MULTILINE))
    assert set(step["env"]) - {"COMPARE"} <= settings
    assert settings - set(step["env"]) == {"STMBENCH", "HEAD", "REMOTE", "SUMMARY"}


@pytest.mark.parametrize("name", ["compare.sh", "comment.sh"])
def test_scripts_can_be_run(name: str) -> None:
    assert (ROOT / "ci" / name).stat().st_mode & 0o111
    assert f"github.action_path }}}}/ci/{name}" in (ROOT / "action.yml").read_text()


def test_a_pinned_commit_says_its_version() -> None:
    for path in [*WORKFLOWS, ROOT / "action.yml"]:
        lines = [line for line in path.read_text().splitlines() if "uses: " in line and "uses: ./" not in line]
        assert all(re.search(r"@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line) for line in lines), path


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("name", ["compare.sh", "comment.sh"])
def test_scripts_are_clean(name: str) -> None:
    command = ["shellcheck", "--severity=warning", str(ROOT / "ci" / name)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


BAD_STEPS = [
    ({"run": "make"}, "run without shell"),
    ({"uses": "actions/checkout"}, "an action that is not pinned"),
    ({"uses": "actions/checkout@v4"}, "an action that is not pinned"),
    ({"run": "echo ${{ inputs.mixers }}", "shell": "bash"}, "an expression inside a script"),
]


@pytest.mark.parametrize(("step", "reason"), BAD_STEPS, ids=range(len(BAD_STEPS)))
def test_a_bad_step_is_found(step: dict[str, Any], reason: str) -> None:
    assert any(line.startswith(reason) for line in problems(step, composite=True))
