"""The workflow and the action are what GitHub takes, and call what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.repositories import ROOT, SCRIPT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
TOP = {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"}
JOB = {"name", "if", "needs", "runs-on", "permissions", "environment", "concurrency", "timeout-minutes", "strategy"}
JOB |= {"steps", "env", "outputs", "defaults", "continue-on-error", "container", "services"}
STEP = {"name", "id", "if", "uses", "with", "run", "shell", "env", "working-directory", "continue-on-error"}
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@v\d+|\./")


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
    """What GitHub would refuse in a step, and what we do not want in one."""
    found = [f"unknown key {name}" for name in sorted(set(step) - STEP)]
    if ("uses" in step) == ("run" in step):
        found.append("one of uses and run")
    if "uses" in step and not PINNED.fullmatch(step["uses"]):
        found.append(f"an action without a version: {step['uses']}")
    if composite and "run" in step and "shell" not in step:
        found.append("run without shell")
    if "run" in step and EXPRESSION.search(step["run"]):
        found.append("an expression inside a script, where what it holds would be read as shell")
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow(path: Path) -> None:
    workflow = _read(path)
    assert set(workflow) <= TOP
    assert {"on", "jobs"} <= set(workflow)
    assert workflow["permissions"] == {"contents": "read"}, "rights are given job by job"
    for name, job in workflow["jobs"].items():
        assert set(job) <= JOB, name
        assert {"runs-on", "steps"} <= set(job), name
        assert set([job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])) <= set(
            workflow["jobs"]
        )
        assert [line for step in job["steps"] for line in problems(step, composite=False)] == [], name


def test_the_project_is_tested_on_every_python_it_names() -> None:
    job = _read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]
    lowest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert lowest is not None
    assert job["strategy"]["matrix"]["python"][0] == lowest[1]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_the_project_gives_its_own_action_known_inputs() -> None:
    steps = _read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["compare"]["steps"]
    own = [step for step in steps if step.get("uses") == "./"]
    assert len(own) == 1
    assert set(own[0]["with"]) <= set(_action()["inputs"])


def test_action() -> None:
    action = _action()
    assert {"name", "description", "runs"} <= set(action)
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


BAD_STEPS = [
    ({"run": "make"}, "run without shell"),
    ({"uses": "actions/checkout"}, "an action without a version"),
    ({"uses": "actions/checkout@v4", "run": "make", "shell": "bash"}, "one of uses and run"),
    ({"name": "nothing"}, "one of uses and run"),
    ({"run": "echo ${{ inputs.mixers }}", "shell": "bash"}, "an expression inside a script"),
    ({"run": "make", "shell": "bash", "whith": {}}, "unknown key whith"),
]


@pytest.mark.parametrize(("step", "reason"), BAD_STEPS, ids=[reason for _, reason in BAD_STEPS])
def test_a_bad_step_is_found(step: dict[str, Any], reason: str) -> None:
    assert any(line.startswith(reason) for line in problems(step, composite=True))
