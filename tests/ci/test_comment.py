"""ci/comment.sh with a `gh` that only takes notes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ci.repositories import ROOT

# answers a listing with $FOUND, and notes what is written
GH = """#!/bin/sh
case "$*" in
    *--paginate*) test -z "$REFUSES" || exit 1; printf '%s' "$FOUND"; echo "filter: $4 marker: $marker" >> "$LOG" ;;
    *) echo "$1 $2 $3 $4" >> "$LOG"; cat "${6#body=@}" >> "$LOG" ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def _comment(tmp_path: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "log").touch()
    (tmp_path / "compare.md").write_text("### one worse\n" + "x" * 70_000)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), **environment}
    command = [ROOT / "ci" / "comment.sh", tmp_path / "compare.md", "owner/theirs", "7"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    return done, (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("found", "call"),
    [
        ("", "api --method POST repos/owner/theirs/issues/7/comments"),
        ("12\n13\n", "api --method PATCH repos/owner/theirs/issues/comments/12"),
    ],
    ids=["first", "again"],
)
def test_one_comment_a_pull_request(tmp_path: Path, found: str, call: str) -> None:
    done, log = _comment(tmp_path, FOUND=found, KEY="micro")
    assert (done.returncode, done.stderr) == (0, "")
    assert "marker: <!-- stmbench micro -->" in log
    assert f"{call}\n<!-- stmbench micro -->\n### one worse\nxxx" in log
    assert len(log) < 65_536


def test_a_token_that_may_not_comment_is_no_failure(tmp_path: Path) -> None:
    done, log = _comment(tmp_path, REFUSES="1")
    assert (done.returncode, log) == (0, "")
    assert "no comment was written to pull request 7" in done.stderr
