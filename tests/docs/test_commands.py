"""Every command line of the documents is one that works: options and choices exist, and what is cheap is run."""

from __future__ import annotations

import glob
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from stmbench.commands import app
from stmbench.commands.group import command_names
from tests.commands import run
from tests.docs.documented import ROOT, Line, documented, lines
from tests.docs.scaled import LEAVES_SOMETHING, MODEL, ONLY_PARSED, OTHER_PROGRAMS, SMALL, reason_not_to_run, small

PAGES = documented()
LINES = [line for of_page in PAGES.values() for line in of_page]
DONE: set[tuple[str, ...]] = set()  # of all pages
OURS = [line for line in LINES if line.stmbench is not None]


def _parse(arguments: tuple[str, ...]) -> str | None:
    """What the command line's own parser says against the arguments; nothing is run."""
    command: Any = typer.main.get_command(app)
    context, rest = None, list(arguments)
    try:
        while True:
            context = command.make_context(command.name, rest, parent=context)
            if not hasattr(command, "resolve_command"):
                return None
            _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            if command is None:
                return "no such command"
    except Exception as error:  # typer has a click of its own, whose errors are no click's
        if getattr(error, "exit_code", None) == 0:  # --help
            return None
        return f"{type(error).__name__}: {getattr(error, 'message', error)}"


@pytest.mark.parametrize("line", OURS, ids=lambda line: f"{line.page}:{line.text[:60]}")
def test_documented_command_parses(line: Line) -> None:
    assert line.stmbench is not None
    if "--plugin" in line.stmbench and line.stmbench[0] not in command_names():
        pytest.skip("the command of an analysis that the page writes: test_documented_command_runs runs it")
    assert _parse(line.stmbench) is None


@pytest.mark.parametrize(
    "text", ["stmbench erf --num-imges 3", "stmbench erff", "stmbench profile --seed x", "stmbench history remove x"]
)
def test_wrong_command_line_is_detected(text: str) -> None:
    (line,) = lines("page", f"```sh\n{text}\n```\n")
    assert line.stmbench is not None
    assert _parse(line.stmbench) is not None


def test_documented_mixers_and_models_exist() -> None:
    from stmbench.analyses.models import by_name
    from stmbench.mixers.base import MIXERS

    for line in OURS:
        arguments = line.stmbench or ()
        for option, value in itertools.pairwise(arguments):
            if option == "--mixers" and "--plugin" not in arguments:
                assert set(value.split(",")) <= set(MIXERS), line.text
            if option in ("-m", "--models") and "--plugin" not in arguments:
                by_name(value.split(","))
        if "--plugin" not in arguments:
            by_name([name for word in arguments if MODEL.match(word) for name in word.split(",")])


@pytest.mark.parametrize("page", PAGES)
def test_documented_command_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's lines one after the other in one folder, as a reader would run them."""
    for name in ("examples", "experiments", "docs", ".git"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for line in PAGES[page]:
        if line.stmbench is None or reason_not_to_run(line.text) is not None:
            continue
        arguments = [found for word in small(line.stmbench) for found in (sorted(glob.glob(word)) or [word])]
        if tuple(arguments) in DONE:
            continue
        result = run.stmbench(*arguments)
        assert result.exit_code == 0, f"{line.text}\nas {' '.join(arguments)}\n{result.output}{result.exception!r}"
        if "--out" not in arguments and arguments[0] not in LEAVES_SOMETHING:
            DONE.add(tuple(arguments))


def test_commands_of_other_programs_are_allowed() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in LINES:
        if line.stmbench is not None:
            continue
        command = " ".join(line.words)
        assert any(re.fullmatch(pattern, command) for pattern in OTHER_PROGRAMS), f"{line.page}: {line.text}"
        if line.words[0] == "make":
            assert {word for word in line.words[1:] if "=" not in word} <= targets, line.text
        for word in line.words[:2]:
            if word.endswith((".py", ".sh", "/run")):
                assert (ROOT / word.removeprefix("$STMBENCH_SOURCE/")).is_file(), line.text


def test_exceptions_are_all_used() -> None:
    assert {line.stmbench[0] for line in OURS if line.stmbench} >= set(SMALL), "a command without an example"
    assert set(SMALL) <= set(typer.main.get_command(app).list_commands(None))  # type: ignore[attr-defined, arg-type]
    for pattern in ONLY_PARSED:
        assert any(re.search(pattern, line.text) for line in LINES), pattern


def test_code_blocks_are_extracted() -> None:
    text = "```sh\nA=1 stmbench erf \\\n    --seed 3  # why\n```\n```python\nx\n```\n\n"
    text += "```sh\nfor s in 1 2; do stmbench erf --seed $s; done\ntorchrun -m stmbench train ...\n```\n"
    found = lines("page", text)
    assert [line.stmbench for line in found] == [("erf", "--seed", "3"), ("erf", "--seed", "1"), ("train",)]
    assert found[0].text == "A=1 stmbench erf --seed 3"
