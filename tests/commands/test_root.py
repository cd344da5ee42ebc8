"""The command line itself: version, help, mistakes in its words, tracebacks on demand, interrupts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

import stmbench
from stmbench.commands import app, group, session
from stmbench.commands.group import command_names
from stmbench.errors import UnitError
from tests.commands import run

ROOT = Path(stmbench.__file__).parents[1]


def test_version() -> None:
    result = run.stmbench("--version")
    assert (result.exit_code, result.stdout) == (0, f"stmbench {stmbench.__version__}\n")


def test_help_names_every_command() -> None:
    result = run.stmbench("--help")
    assert result.exit_code == 0
    for name in command_names():
        assert f" {name} " in result.stdout


def test_help_is_broken_where_the_terminal_ends_and_not_where_the_source_does() -> None:
    lines = run.stmbench("train", "--help").stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if "Without arguments" in line)
    paragraph = lines[start : start + 3]
    assert all(len(line.rstrip()) > 60 for line in paragraph[:2]), paragraph


@pytest.mark.parametrize("args", [[], ["list"], ["new"]], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(args: list[str]) -> None:
    result = run.stmbench(*args)
    assert result.exit_code == 2
    assert f"Usage: {' '.join(['stmbench', *args])} " in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("launcher", [["cli.py"], ["-m", "stmbench"]], ids=" ".join)
def test_launchers(launcher: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *launcher, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"stmbench {stmbench.__version__}\n"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["lits"], "expected a command of stmbench, got 'lits'; did you mean list?"),
        (["list", "mixer"], "expected a command of stmbench list, got 'mixer'; did you mean mixers?"),
        (
            ["list", "mixers", "--jsn"],
            "expected an option of `stmbench list mixers`, got '--jsn'; did you mean --json?",
        ),
        (["--verison"], "expected an option of `stmbench`, got '--verison'; did you mean --version?"),
        (["new", "mixer"], "expected a value for NAME, got none; see `stmbench new mixer --help`"),
        (["new", "mixer", "a", "b"], "expected valid arguments of `stmbench new mixer`, got "),
        (["list", "mixers", "--plugin"], "expected valid arguments of `stmbench`, got Option '--plugin' requires"),
    ],
)
def test_mistaken_words_are_one_line(args: list[str], line: str) -> None:
    assert run.refusal(*args).startswith(line)


def _leaves(command: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    if not hasattr(command, "list_commands"):
        return {" ".join(path): command}
    leaves: dict[str, Any] = {}
    for name in command.list_commands(None):
        leaves.update(_leaves(command.get_command(None, name), (*path, name)))
    return leaves


# what copies and draws stores, or lists files, knows no model, and so no plug-in
WITHOUT_MODELS = (
    "store compact",
    *("history add", "history list", "history prune", "dashboard", "convert"),
    *("list experiments", "list examples"),
)


def test_every_command_takes_plugins_and_debug() -> None:
    leaves = _leaves(typer.main.get_command(app))
    assert {"list mixers", "list models", "new mixer", "check", "profile"} <= set(leaves)
    for name, command in leaves.items():
        options = {option for parameter in command.params for option in parameter.opts}
        wanted = {"--debug"} if name in WITHOUT_MODELS else {"--plugin", "--debug"}
        assert wanted <= options, name
        assert command.help, name


@pytest.mark.parametrize("args", [["--debug", "list", "lst"], ["list", "mixers", "--debug", "--plugin", "missing.py"]])
def test_debug_shows_the_traceback(args: list[str]) -> None:
    result = run.stmbench(*args)
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: expected ")


def test_debug_lasts_for_one_call() -> None:
    run.stmbench("--debug", "lst")
    assert "Traceback" not in run.stmbench("lst").stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `stmbench fail` raise what it is told to."""

    def with_error(error: BaseException) -> None:
        module = type(sys)("stmbench.commands.fail")
        module.app = typer.Typer(add_completion=False)  # type: ignore[attr-defined]

        @module.app.command()  # type: ignore[attr-defined, untyped-decorator]
        def fail() -> None:
            session.keep("the parts stay in results/x; run again to go on")
            raise error

        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(group, "BEFORE", ("fail",))

    return with_error


def test_an_interrupt_says_what_was_kept(failing: Any) -> None:
    failing(KeyboardInterrupt())
    result = run.stmbench("fail")
    assert result.exit_code == 130
    assert result.stderr == "interrupted; the parts stay in results/x; run again to go on\n"


def test_our_errors_are_one_line(failing: Any) -> None:
    failing(UnitError("the model went up in smoke"))
    result = run.stmbench("fail")
    assert (result.exit_code, result.stderr) == (2, "error: the model went up in smoke\n")


def test_a_bug_is_not_dressed_up(failing: Any) -> None:
    failing(RuntimeError("a bug"))
    result = run.stmbench("fail")
    assert result.exit_code == 2, "1 is said of regressions and of units that failed"
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: a mistake in stmbench, please report it: RuntimeError: a bug"
