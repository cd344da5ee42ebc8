"""Git repositories of somebody else, with a mixer in them, and ci/compare.sh run in one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ci" / "compare.sh"
AUTHOR = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main")


def git(repository: Path, *arguments: str) -> str:
    """What `git ARGUMENTS` prints; fails the test where it fails."""
    done = subprocess.run(["git", *AUTHOR, *arguments], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(repository: Path, files: dict[str, str], subject: str) -> str:
    """The SHA of a commit of these files on top of what is there."""
    if not (repository / ".git").exists():
        repository.mkdir(parents=True, exist_ok=True)
        git(repository, "init", "--quiet")
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", subject)
    return git(repository, "rev-parse", "HEAD")


def compare(repository: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`SETTING=... ci/compare.sh` in the repository, without the settings of a service that runs these tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_"))}
    kept = {name: value for name, value in kept.items() if name not in ("BASE", "HEAD", "OUT", "PUSH", "RECORD")}
    return subprocess.run([SCRIPT], cwd=repository, env={**kept, **settings}, capture_output=True, text=True)
