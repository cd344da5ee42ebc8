"""A command and its function have the same options, defaults and help."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
import typer

import stmbench as sb
from stmbench.analyses.options import help_of
from stmbench.analyses.registry import ANALYSES, specs
from stmbench.api import functions
from stmbench.api.analyses import public
from stmbench.commands.group import AFTER, BEFORE
from stmbench.training.options import TrainOptions

NAMES = [spec.name for spec in specs() if spec.options is not None]
# what only a command line needs: two ways to name models, output, and weights chosen in `Checkpoint` from Python
COMMAND_ONLY = {"named", "as_json", "debug", "weights", "resize_tables", "help", "dry_run"}
RENAMED = {"plugin": "plugins", "dataset": "images"}
OTHER_DEFAULT = {"out"}  # a temporary store, rather than results/NAME
ELSEWHERE = {  # commands whose function has another name or is left out
    "list": "list_models",
    "history": "add_to_history",
    "store": "compact_store",
    "new": None,  # writes a file to edit
    "watch": None,  # serves a page until it is ended
}
# options of a command that its function leaves out, and why
LEFT_OUT = {
    "run": {"dry_run", "engine", "address"},  # a table for people; clusters
    "convert": {"inspect"},
    "compare": {"live", "strict", "format", "models", "mixers", "scale", "architecture", "plugins", "resolution",
                "batch_size", "dtype", "device", "threads", "clock", "time_budget", "confirm", "plant", "samples"},
}  # fmt: skip
OTHER = {"workers"}  # 1 rather than auto: a notebook's process


def _command(name: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(__import__("stmbench.commands", fromlist=["app"]).app)
    command = group.get_command(None, name)
    skipped = COMMAND_ONLY if name in (*NAMES, "train") else COMMAND_ONLY - {"weights", "dry_run"}
    return {parameter.name: parameter for parameter in command.params if parameter.name not in skipped}


def _plain(value: Any) -> Any:
    """() and None say the same, and Typer's paths are texts in Python."""
    return None if value in ((), [], None) else str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize("name", [*NAMES, "train"])
def test_options_defaults_and_help(name: str) -> None:
    options, kind = _command(name), TrainOptions if name == "train" else ANALYSES.get(name).options
    assert kind is not None
    rename = RENAMED if kind.needs_images else {"plugin": "plugins"}
    function = getattr(sb, name)
    parameters = inspect.signature(function).parameters
    assert {rename.get(option, option) for option in options} | {"progress"} == set(parameters)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for option, typer_option in options.items():
        parameter = parameters[rename.get(option, option)]
        if option in fields:
            assert parameter.default == fields[option].default
            assert typer_option.help in (None, help_of(fields[option]).help)
            assert f"{public(option, kind)}: {help_of(fields[option]).help}" in (function.__doc__ or "")
            if typer_option.default is not None and not typer_option.required:
                assert typer_option.default == fields[option].default
        elif option not in OTHER_DEFAULT:
            assert _plain(parameter.default) == _plain(typer_option.default), option
    summary = ANALYSES.get(name).summary if name != "train" else "Train models, from a recipe of the papers"
    assert (function.__doc__ or "").startswith(inspect.cleandoc(summary)[:40])


@pytest.mark.parametrize("command", [*BEFORE, *AFTER])
def test_every_other_command_has_a_function(command: str) -> None:
    name = ELSEWHERE.get(command, command)
    assert name is None or name in sb.__all__


@pytest.mark.parametrize("name", ["run", "report", "compare", "dashboard", "export", "convert", "check"])
def test_defaults_of_the_other_functions(name: str) -> None:
    parameters, out = inspect.signature(getattr(sb, name)).parameters, {"folder": "store", "store": "stores"}
    asked = {{"plugin": "plugins", **out}.get(option, option): found for option, found in _command(name).items()}
    assert set(asked) - set(parameters) <= LEFT_OUT.get(name, set())
    assert set(parameters) - set(asked) <= {"progress"}
    for option, found in asked.items():
        if option in parameters and not found.required and option not in OTHER:
            default = None if parameters[option].default is inspect.Parameter.empty else parameters[option].default
            assert _plain(default) == _plain(found.default), option


def test_the_typed_signatures_are_up_to_date() -> None:
    text = Path(functions.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    written = ast.dump(ast.parse(functions.stub_text([*NAMES, "train"])))
    assert ast.dump(ast.parse(text)) == written, "run python -m stmbench.api.functions > stmbench/api/functions.pyi"
