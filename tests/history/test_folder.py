"""Two commits of a history, filled by their first digits on a machine that measured both."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.errors import InputError
from stmbench.history import adding
from stmbench.history.folder import History, stores_of
from tests.commands import run
from tests.history.stores import MACHINE, history, known, sha, store

OTHER = "ffffffffffff"


@pytest.fixture
def made(tmp_path: Path) -> History:
    """Commits 1 and 2 on one machine, 2 and 3 on another."""
    filled = history(tmp_path, [1, 2])
    for number in (2, 3):
        adding.add(store(tmp_path / f"other{number}", sha(number), machine=OTHER), filled, find=known)
    return filled


def test_the_machine_that_measured_both_is_found(made: History) -> None:
    base, head = stores_of(made, sha(1)[:6], sha(2)[:6])
    assert (base.name[-12:], head.name[-12:]) == (sha(1)[:12], sha(2)[:12])
    assert base.parent == head.parent
    assert base.parent.name == MACHINE
    assert stores_of(made, sha(2), sha(3))[0].parent.name == OTHER


@pytest.mark.parametrize(
    ("base", "head", "machine", "complaint"),
    [
        ("0001c0", "0003c0", None, "a machine that measured both commits, got 0001c0 on"),
        ("0002c0", "0002c0", None, "one machine that measured both commits, got"),
        ("0009c0", "0002c0", None, "a commit of the history"),
        ("000", "0002c0", None, "at least 4 digits"),
        ("0001c0", "0002c0", "0123", "a machine of the history, got '0123'; did you mean|known:"),
        ("0001c0", "0002c0", OTHER, "a machine that measured both commits"),
    ],
)
def test_what_cannot_be_found_is_said(made: History, base: str, head: str, machine: str | None, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        stores_of(made, base, head, machine)


def test_digits_of_several_commits_are_refused(tmp_path: Path) -> None:
    filled = history(tmp_path, [1])
    adding.add(store(tmp_path / "twin", "0001" + "0" * 36), filled, find=known)
    with pytest.raises(InputError, match="the digits of one commit, got 0001: 000100000000, 0001c0ffeec0"):
        stores_of(filled, "0001", "0001")


def test_the_command_compares_commits(made: History) -> None:
    result = run.stmbench("compare", sha(1)[:8], sha(2)[:8], "--history", str(made.folder), "--format", "json")
    assert result.exit_code == 0, result.output
    assert "stmbench.compare.v2" in result.stdout
    assert "--live" in run.refusal("compare", "a", "b", "--live", "--history", str(made.folder))
    assert "--history" in run.refusal("compare", "a", "b", "--machine", MACHINE)
