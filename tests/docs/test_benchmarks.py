"""`python -m benchmarks` and the page of speed figures: every benchmark has its place, and a place its benchmark."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as all_benchmarks

PAGE = all_benchmarks.PAGE.read_text(encoding="utf-8")


def test_every_benchmark_has_one_place_and_every_place_a_benchmark() -> None:
    assert re.findall(r"<!-- figures: (\S+) -->", PAGE) == list(all_benchmarks.COMMANDS)
    assert PAGE.count(all_benchmarks.END) == len(all_benchmarks.COMMANDS)


@pytest.mark.parametrize("module", sorted({command[0] for command in all_benchmarks.COMMANDS.values()}))
def test_every_command_is_a_script_that_takes_its_options(module: str) -> None:
    source = (all_benchmarks.ROOT / "benchmarks" / f"{module}.py").read_text(encoding="utf-8")
    commands = [command for command in all_benchmarks.COMMANDS.values() if command[0] == module]
    options = {word for command in commands for word in command[1:] if word.startswith("--")}
    assert all(f'"{option}"' in source for option in options)
    names = {name for name, command in all_benchmarks.COMMANDS.items() if command[0] == module}
    if names & set(all_benchmarks.CUDA):
        assert '"--device"' in source


def test_new_figures_replace_the_old_ones_of_their_name_alone() -> None:
    page = (
        "a\n<!-- figures: x -->\nold\n<!-- end of figures -->\nb\n<!-- figures: y -->\nkept\n<!-- end of figures -->\n"
    )
    assert all_benchmarks.replaced(page, "x", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="expected <!-- figures: z -->"):
        all_benchmarks.replaced(page, "z", "new")
    placed = all_benchmarks.with_place(page, "x-cuda")
    assert placed.startswith(page.rstrip())
    assert all_benchmarks.with_place(placed, "x-cuda") == placed
    assert "new" in all_benchmarks.replaced(placed, "x-cuda", "new")


def run(command: str) -> list[str]:
    return [sys.executable, "-c", command]


def test_tables_are_taken_from_what_is_printed() -> None:
    text = all_benchmarks.figures("x", run("print('2 threads'); print('| a |'); print('|---|'); print('| 1 |')"))
    assert text.startswith("| a |\n|---|\n| 1 |\n\n*")
    assert re.search(r"torch \d.*; \d{4}-\d\d-\d\d\*$", text)
    assert all_benchmarks.figures("x", run("print('3 ms')")).startswith("```text\n3 ms\n```\n")
    with pytest.raises(ValueError, match="expected figures from x, got none"):
        all_benchmarks.figures("x", run("pass"))
    with pytest.raises(subprocess.CalledProcessError):
        all_benchmarks.figures("x", run("raise SystemExit(1)"))


def test_a_benchmark_that_fails_leaves_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(all_benchmarks, "PAGE", page)
    monkeypatch.setattr(all_benchmarks, "COMMANDS", {"knn": ("no_such_script",)})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "knn"])
    assert all_benchmarks.main() == 1
    assert page.read_text(encoding="utf-8") == PAGE
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fast"])
    assert all_benchmarks.main() == 2
    assert "expected names of knn, got fast" in capsys.readouterr().err
