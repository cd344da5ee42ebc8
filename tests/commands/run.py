"""Run the command line inside the test's process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from stmbench.commands import app

if TYPE_CHECKING:
    from click.testing import Result


def stmbench(*args: str) -> Result:
    """The result of `stmbench ARGS`: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, list(args), prog_name="stmbench")


def refusal(*args: str) -> str:
    """The line with which `stmbench ARGS` refuses, exit code 2 and nothing else: 'expected X, got Y; remedy'."""
    result = stmbench(*args)
    lines = result.stderr.splitlines()
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: expected "), lines
    assert len(re.findall(r"\bexpected ", lines[0])) == lines[0].count(", got ") == 1, lines
    assert "; " in lines[0].partition(", got ")[2], "no remedy"
    return lines[0].removeprefix("error: ")
